"""What an operation of the API is: its handler and all that OpenAPI says of it, in one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hegemon.api.parameters import Parameter
from hegemon.api.resource import Handler

# What every operation may answer.
ALWAYS = ("stopping", "internal_error")
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


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `problems` are codes of the table; those of `ALWAYS` are understood."""

    method: Literal["GET", "POST", "DELETE"]
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
