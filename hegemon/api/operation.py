"""What an operation of the API is: its handler and all that OpenAPI says of it, in one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hegemon.api.parameters import Parameter
from hegemon.api.resource import Handler

# What every operation may answer, before its handler is asked or in its place: the pipeline's own answers.
ALWAYS = (
    "malformed_request",
    "request_timeout",
    "misdirected_request",
    "rate_limited",
    "headers_too_large",
    "internal_error",
    "overloaded",
    "too_many_connections",
    "stopping",
)
# And every one that changes something: another site's page asks, or the request is cut off.
CHANGES_ALWAYS = ("forbidden", "outcome_unknown")
# What every operation that asks a store may answer.
STORE_PROBLEMS = ("store_unavailable",)
# What every operation with a body may answer; the code for a wrong shape is the operation's own.
BODY_PROBLEMS = ("malformed_json", "unsupported_media_type", "body_too_large")


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: `shape` is a Struct, None for no body at all, or "text"."""

    status: int
    description: str
    shape: type[Any] | Literal["text"] | None
    example: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    # Of a text.
    media_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `problems` are codes of the table; those of `ALWAYS` and `CHANGES_ALWAYS` are
    understood."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    name: str
    group: str
    summary: str
    handler: Handler
    answers: tuple[Answer, ...]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    problems: tuple[str, ...] = ()
    body: type[Any] | None = None
    body_examples: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    # Its outcomes go to the audit log.
    audited: bool = False
