"""What happened in the cluster, over HTTP: the events of all nodes, oldest first, by pages and as a stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hegemon.api import event_stream, parameters
from hegemon.api.activity_streams import ActivityStreams
from hegemon.api.call import Call
from hegemon.api.operation import Answer, Operation
from hegemon.api.parameters import Parameter
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Node
from hegemon.api.views import EventView, event_view, place_text
from hegemon.cluster.ports import ActivityFilter
from hegemon.events.kind import Severity

ACTIVITY: Final = "/api/v1/activity"
LAST_EVENT_ID: Final = "Last-Event-ID"
# In the node's services: its `ActivityStreams`.
STREAMS: Final = "streams"
_AFTER: Final = re.compile(r"[0-9]{1,15}")
_KIND: Final = re.compile(r"[a-z][a-z_.]{0,63}")
_NODE: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class EventList(msgspec.Struct, frozen=True, kw_only=True):
    """Events, oldest first. `next` is the `after` of the next request. Not `complete`: the store that the nodes share
    does not answer, these are this node's own alone, and those of the nodes in `missing` are not here."""

    events: list[EventView]
    next: str | None
    complete: bool
    missing: list[str]


async def list_activity(node: Node, call: Call) -> Reply:
    """GET /api/v1/activity"""
    query = call.query(frozenset({"limit", "after", "kind", "severity", "node"}))
    which, after = _wanted(call, query), _place(query, "after")
    limit = parameters.limit(query)
    page = await node.observer.activity(which, limit=limit, after=after)
    return ok(
        EventList(
            events=[event_view(event) for event in page.events],
            next=place_text(page.following),
            complete=page.complete,
            missing=page.missing,
        )
    )


async def stream_activity(node: Node, call: Call) -> Reply:
    """GET /api/v1/activity/stream"""
    query = call.query(frozenset({"after", "kind", "severity", "node"}))
    which, after = _wanted(call, query), _place(query, "after")
    # A browser that comes back still has the address that it began with.
    named = call.header(LAST_EVENT_ID.lower().encode())
    if named:
        after = _place({LAST_EVENT_ID: named}, LAST_EVENT_ID)
    streams: ActivityStreams = node.services[STREAMS]
    streams.admit()
    return Reply(
        200,
        content_type=event_stream.MEDIA_TYPE,
        # nginx would gather it.
        headers=((b"x-accel-buffering", b"no"),),
        stream=lambda outlet: streams.serve(call, outlet, which, after),
    )


def _wanted(call: Call, query: Mapping[str, str]) -> ActivityFilter:
    return ActivityFilter(
        kind=_matching(query, "kind", _KIND, "the beginning of a kind's name, such as election. or job.dead"),
        severities=_severities(query),
        node=_matching(query, "node", _NODE, "a NODE_ID"),
        queues=call.principal.queues,
    )


def _place(query: Mapping[str, str], name: str) -> int | None:
    after = _matching(query, name, _AFTER, "the `next` of an earlier answer, or an event's `cursor`")
    return None if after is None else int(after)


def _matching(query: Mapping[str, str], name: str, shape: re.Pattern[str], says: str) -> str | None:
    value = query.get(name)
    if value is not None and not shape.fullmatch(value):
        raise ApiError("invalid_parameter", f"must be {says}", field=name)
    return value


def _severities(query: Mapping[str, str]) -> frozenset[str] | None:
    """This severity and those above it."""
    value = query.get("severity")
    if value is None:
        return None
    known = [severity.value for severity in Severity]
    if value not in known:
        raise ApiError("invalid_parameter", f"must be one of {', '.join(known)}", field="severity")
    return frozenset(known[known.index(value) :])


_AN_EVENT: Final[dict[str, Any]] = {
    "id": "node-2:7:41",
    "cursor": "4711",
    "at": "2026-11-22T12:00:00.000Z",
    "node": "node-2",
    "kind": "office.taken",
    "severity": "info",
    "fields": {"epoch": 8, "term": 5},
}

_FILTERS: Final = (
    Parameter(
        "kind",
        "Only kinds whose name begins so: `job.dead`, `election.`, `job`.",
        {"type": "string", "pattern": f"^{_KIND.pattern}$"},
        "election.",
    ),
    Parameter(
        "severity",
        "Only events of this severity or a higher one.",
        {"type": "string", "enum": [severity.value for severity in Severity]},
        "warning",
    ),
    Parameter("node", "Only what this node said.", {"type": "string", "pattern": f"^{_NODE.pattern}$"}, "node-1"),
)
_AFTER_QUERY: Final = Parameter(
    "after",
    "`next` of an earlier answer, or the `cursor` of an event.",
    {"type": "string", "pattern": f"^{_AFTER.pattern}$"},
    "4711",
)
_FRAMES: Final = (
    event_stream.opening(2000) + event_stream.state(complete=True, missing=(), place=4710)
).decode() + 'id: 4711\ndata: {"id": "node-2:7:41", "cursor": "4711", "kind": "office.taken", …}\n\n'

OPERATIONS: Final = (
    Operation(
        "GET",
        ACTIVITY,
        "listActivity",
        "cluster",
        "What happened, on all nodes, oldest first",
        list_activity,
        (
            Answer(
                200,
                "Events of all nodes, also of those that are gone.",
                EventList,
                {"events": [_AN_EVENT], "next": "4711", "complete": True, "missing": []},
            ),
        ),
        "Without `after` the newest events; with it the first ones behind it, so that whoever asks again and again "
        "with the last `next` misses none. Each node keeps its last thousand. An event is here a moment after it "
        "happened. The kinds and their fields are a table in docs/events.md; clients pass over unknown ones.",
        (
            _AFTER_QUERY,
            *_FILTERS,
            parameters.LIMIT,
        ),
        ("invalid_parameter",),
    ),
    Operation(
        "GET",
        f"{ACTIVITY}/stream",
        "streamActivity",
        "cluster",
        "What happens, on all nodes, as it comes: server-sent events",
        stream_activity,
        (Answer(200, "Frames until either side ends it.", "text", _FRAMES, media_type="text/event-stream"),),
        "From now on, or behind `Last-Event-ID` or `after`, which a browser's EventSource and any other client give "
        "when they come back: they miss no event and get none twice. A frame's data is an event as in "
        f"`GET {ACTIVITY}`, its id the event's cursor. `event: state` says at the beginning, and whenever it changes, "
        "whether the store that the nodes share answers: while `complete` is false these are the node's own events "
        "alone, at once and without a cursor, and what was missed comes afterwards; an event without a cursor may then "
        "come again with one, under the same `id`. `event: dropped` and `event: end` are last words with `code`, "
        "`detail` and whether it is worth coming back (`resume`): too_slow, token_expired, unauthenticated, stopping. "
        "A comment every 15 seconds says that the node is there.",
        (
            Parameter(
                LAST_EVENT_ID,
                "The id of the last frame. Counts before `after`.",
                {"type": "string", "pattern": f"^{_AFTER.pattern}$"},
                "4711",
                "header",
            ),
            _AFTER_QUERY,
            *_FILTERS,
        ),
        ("invalid_parameter", "too_many_streams"),
    ),
)
