"""A node's log over HTTP: its own last lines and those of its workers, by level, job, request, text and time."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from hegemon.api import parameters
from hegemon.api.call import Call
from hegemon.api.operation import Answer, Operation
from hegemon.api.parameters import Parameter
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Node
from hegemon.cluster.log_ports import LOG_LEVELS, LogFilter
from hegemon.queue.ids import ID_PATTERN, is_id

LOGS: Final = "/api/v1/logs"
LINES_MAX: Final = 1000
LINES_DEFAULT: Final = 200
_AFTER: Final = re.compile(r"[0-9a-f]{8}-[0-9]{1,15}")
_REQUEST: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_GREP_MAX: Final = 200


class LogList(msgspec.Struct, frozen=True, kw_only=True):
    """Log lines of the node that was asked, oldest first: JSON objects with `timestamp` (of its wall clock), `level`,
    `event` and further fields. `next` is the `after` of the next request. `missed`: so many lines behind `after` were
    gone already."""

    node: str
    lines: list[dict[str, Any]]
    next: str
    missed: int


async def list_logs(node: Node, call: Call) -> Reply:
    """GET /api/v1/logs"""
    query = call.query(frozenset({"limit", "after", "level", "job", "request", "grep", "since"}))
    level = query.get("level")
    if level is not None and level not in LOG_LEVELS:
        raise ApiError("invalid_parameter", f"must be one of {', '.join(LOG_LEVELS)}", field="level")
    job = query.get("job")
    if job is not None and not is_id(job):
        raise ApiError("invalid_parameter", "must be a job's id", field="job")
    request = query.get("request")
    if request is not None and not _REQUEST.fullmatch(request):
        raise ApiError("invalid_parameter", "must be a request's id: 1 to 64 letters, digits, _ . -", field="request")
    grep = query.get("grep")
    if grep is not None and not 1 <= len(grep) <= _GREP_MAX:
        raise ApiError("invalid_parameter", f"must be 1 to {_GREP_MAX} characters", field="grep")
    after = query.get("after")
    if after is not None and not _AFTER.fullmatch(after):
        raise ApiError("invalid_parameter", "must be the `next` of an earlier answer", field="after")
    which = LogFilter(level=level, job=job, request=request, grep=grep, since=_since(query.get("since")))
    limit = parameters.limit(query, default=LINES_DEFAULT, most=LINES_MAX)
    # To look through all lines takes 7 ms (2 MiB) or 26 ms (16 MiB), and elections hang on the loop.
    page = await asyncio.to_thread(node.observer.logs, which, limit=limit, after=after)
    name = node.observer.election().node_id
    return ok(LogList(node=name, lines=page.lines, next=page.following, missed=page.missed))


def _since(text: str | None) -> str | None:
    """As lines have their times, which can be compared as texts then."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or len(text) > 40:
        raise ApiError("invalid_parameter", "must be a time with a zone, as 2026-11-23T12:00:00Z", field="since")
    try:
        return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except OverflowError:
        raise ApiError("invalid_parameter", "must be a time between the years 1 and 9999", field="since") from None


_A_LINE: Final[dict[str, Any]] = {
    "timestamp": "2026-11-23T12:00:00.000000Z",
    "level": "warning",
    "event": "job_retried",
    "node": "node-2",
    "worker": "node-2.w0~5c1f09a3",
    "job": "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a",
    "attempt": 1,
    "outcome": "failed",
    "error": "ConnectionError",
    "request_id": "9f86d081884c7d65",
}

OPERATIONS: Final = (
    Operation(
        "GET",
        LOGS,
        "listLogs",
        "cluster",
        "The last log lines of this node and its workers, oldest first",
        list_logs,
        (
            Answer(
                200,
                "Lines of the node that was asked.",
                LogList,
                {"node": "node-2", "lines": [_A_LINE], "next": "1f2e3d4c-4711", "missed": 0},
            ),
        ),
        "Without `after` the newest lines; with it the first ones behind it. A node keeps so many bytes of them as "
        "LOG_KEPT says, and none over its own end. Each node has its own: `hegemon logs` asks all of them. What the "
        "lines mean stands in docs/logs.md.",
        (
            Parameter(
                "after",
                "`next` of an earlier answer of the same node. One of an earlier life of it begins anew.",
                {"type": "string", "pattern": f"^{_AFTER.pattern}$"},
                "1f2e3d4c-4711",
            ),
            Parameter(
                "level",
                "Only lines of this level or a graver one.",
                {"type": "string", "enum": list(LOG_LEVELS)},
                "warning",
            ),
            Parameter(
                "job",
                "Only lines about this job, its handler's own among them.",
                {"type": "string", "pattern": ID_PATTERN.pattern},
                "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a",
            ),
            Parameter(
                "request",
                "Only lines of this request, and of the jobs that it submitted.",
                {"type": "string", "pattern": f"^{_REQUEST.pattern}$"},
                "9f86d081884c7d65",
            ),
            Parameter(
                "grep",
                "Only lines that hold this text anywhere, in whatever case.",
                {"type": "string", "minLength": 1, "maxLength": _GREP_MAX},
                "timeout",
            ),
            Parameter(
                "since",
                "Only lines from this time on, by the node's wall clock.",
                {"type": "string", "format": "date-time"},
                "2026-11-23T12:00:00Z",
            ),
            Parameter(
                "limit",
                f"How many lines at most: 1 to {LINES_MAX}.",
                {"type": "integer", "minimum": 1, "maximum": LINES_MAX, "default": LINES_DEFAULT},
                100,
            ),
        ),
        ("invalid_parameter",),
    ),
)
