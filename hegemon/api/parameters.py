"""The query parameters and headers that the API takes: for each its schema for OpenAPI, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hegemon.api.call import Call
from hegemon.api.problems import ApiError
from hegemon.cluster.algorithm_guide import GUIDE, NODES_MAX
from hegemon.cluster.durations import parse_duration
from hegemon.queue.states import Status

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50
CURSOR_LENGTH_MAX: Final = 500
TAG_LENGTH_MAX: Final = 100
WAIT_S_MAX: Final = 120.0
WAIT_S_DEFAULT: Final = 30.0

_NAME: Final = re.compile(r"[A-Za-z0-9_.\-/]{1,100}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as OpenAPI describes it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    example: Any
    place: Literal["query", "header", "path"] = "query"


_NAME_SCHEMA: Final = {"type": "string", "pattern": f"^{_NAME.pattern}$"}

JOB_ID: Final = Parameter(
    "id",
    "A job's id (UUIDv7). A text that cannot be an id is answered like an id that is not there: 404.",
    {"type": "string"},
    "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a",
    "path",
)
ALGORITHM: Final = Parameter("name", "An election algorithm.", {"type": "string", "enum": list(GUIDE)}, "raft", "path")
NODES: Final = Parameter(
    "nodes",
    "For how many nodes; as many as there are now if not given.",
    {"type": "integer", "minimum": 1, "maximum": NODES_MAX},
    5,
)
CODE: Final = Parameter("code", "A problem code.", {"type": "string"}, "queue_full", "path")
STATUS: Final = Parameter(
    "status", "Only jobs in this state.", {"type": "string", "enum": [status.value for status in Status]}, "pending"
)
TYPE: Final = Parameter("type", "Only jobs of this type.", _NAME_SCHEMA, "email")
QUEUE: Final = Parameter("queue", "Only jobs of this queue.", _NAME_SCHEMA, "default")
TAG: Final = Parameter(
    "tag", "Only jobs with this tag.", {"type": "string", "minLength": 1, "maxLength": TAG_LENGTH_MAX}, "nightly"
)
LIMIT: Final = Parameter(
    "limit",
    "How many jobs a page holds at most.",
    {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    LIMIT_DEFAULT,
)
CURSOR: Final = Parameter(
    "cursor",
    "`next_cursor` of the page before, as it came; its content is nobody's business.",
    {"type": "string", "minLength": 1, "maxLength": CURSOR_LENGTH_MAX},
    "MDE5OWE0YjI",
)
TIMEOUT: Final = Parameter(
    "timeout",
    f"How long to wait, 0 to {WAIT_S_MAX:g} seconds: a number of seconds, or a duration such as `10s` or `1m30s`.",
    {"type": "string", "default": f"{WAIT_S_DEFAULT:g}"},
    "10s",
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "1 to 255 visible ASCII characters that belong to this caller. The same request under it gives the same job back.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    "order-4711-mail",
    "header",
)

REQUEST_ID: Final = Parameter(
    "X-Request-ID",
    "A name for this request, 1 to 64 of letters, digits, _ . -: it stands in the answer, in log lines and with the "
    "jobs. Without it, or with anything else in it, the trace id of `traceparent`, or a new one.",
    {"type": "string"},
    "9f86d081884c7d65",
    "header",
)
TRACEPARENT: Final = Parameter(
    "traceparent",
    "The caller's trace (W3C Trace Context). It goes with the job to its handler. One that is malformed is ignored.",
    {"type": "string"},
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "header",
)
TRACESTATE: Final = Parameter(
    "tracestate",
    "What goes with `traceparent` (W3C Trace Context), at most 512 characters.",
    {"type": "string"},
    "vendor=opaque",
    "header",
)


def status(query: Mapping[str, str]) -> str | None:
    """`status`, one of the states' names."""
    value = query.get("status")
    if value is not None and value not in set(Status):
        raise ApiError("invalid_parameter", f"must be one of {', '.join(Status)}", field="status")
    return value


def name(query: Mapping[str, str], parameter: str) -> str | None:
    """`type` or `queue`."""
    value = query.get(parameter)
    if value is not None and not _NAME.fullmatch(value):
        raise ApiError("invalid_parameter", "must be 1 to 100 letters, digits, and _ . - /", field=parameter)
    return value


def tag(query: Mapping[str, str]) -> str | None:
    """`tag`."""
    value = query.get("tag")
    if value is not None and not 1 <= len(value) <= TAG_LENGTH_MAX:
        raise ApiError("invalid_parameter", f"must be 1 to {TAG_LENGTH_MAX} characters", field="tag")
    return value


def limit(query: Mapping[str, str], *, default: int = LIMIT_DEFAULT, most: int = LIMIT_MAX) -> int:
    """`limit`."""
    text = query.get("limit", str(default))
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise ApiError("invalid_parameter", f"must be a whole number from 1 to {most}", field="limit")
    return int(text)


def nodes(query: Mapping[str, str]) -> int | None:
    """`nodes`."""
    text = query.get("nodes")
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= NODES_MAX:
        raise ApiError("invalid_parameter", f"must be a whole number from 1 to {NODES_MAX}", field="nodes")
    return int(text)


def cursor(query: Mapping[str, str]) -> str | None:
    """`cursor`; whether it is one of ours, the store says."""
    value = query.get("cursor")
    if value is not None and not 1 <= len(value) <= CURSOR_LENGTH_MAX:
        raise ApiError("invalid_parameter", "is not a cursor of this API", field="cursor")
    return value


def timeout_s(query: Mapping[str, str]) -> float:
    """`timeout` in seconds."""
    text = query.get("timeout")
    if text is None:
        return WAIT_S_DEFAULT
    try:
        seconds = float(text) if _SECONDS.fullmatch(text) else parse_duration(text).total_seconds()
    except ValueError as error:
        raise ApiError("invalid_parameter", str(error), field="timeout") from None
    if seconds > WAIT_S_MAX:
        raise ApiError("invalid_parameter", f"must be at most {WAIT_S_MAX:g} seconds", field="timeout")
    return seconds


def idempotency_key(call: Call) -> str | None:
    """The header Idempotency-Key, kept as it came: opaque."""
    value = call.header(b"idempotency-key")
    if value is not None and not _IDEMPOTENCY_KEY.fullmatch(value):
        raise ApiError(
            "invalid_parameter", "must be 1 to 255 visible ASCII characters, given once", field="Idempotency-Key"
        )
    return value
