"""What happened in the cluster, over HTTP: the events of all nodes, oldest first, and how to go on from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hegemon.api import parameters
from hegemon.api.call import Call
from hegemon.api.operation import Answer, Operation
from hegemon.api.parameters import Parameter
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Node
from hegemon.api.views import moment
from hegemon.cluster.ports import ActivityEvent, ActivityFilter
from hegemon.events.kind import Severity

ACTIVITY: Final = "/api/v1/activity"
_AFTER: Final = re.compile(r"[0-9]{1,15}")
_KIND: Final = re.compile(r"[a-z][a-z_.]{0,63}")
_NODE: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A domain event. `id` (NODE:BOOT:SEQ) names it for ever; of one node and boot, SEQ counts without gaps. `cursor`
    is its place among all, for `after`; null while it has none. `fields` are those of its kind."""

    id: str
    cursor: str | None
    at: str
    node: str
    kind: str
    severity: Severity
    fields: dict[str, Any]


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
    which = ActivityFilter(
        kind=_matching(query, "kind", _KIND, "the beginning of a kind's name, such as election. or job.dead"),
        severities=_severities(query),
        node=_matching(query, "node", _NODE, "a NODE_ID"),
        queues=call.principal.queues,
    )
    after = _matching(query, "after", _AFTER, "the `next` of an earlier answer, or an event's `cursor`")
    limit = parameters.limit(query)
    page = await node.observer.activity(which, limit=limit, after=None if after is None else int(after))
    return ok(
        EventList(
            events=[event_view(event) for event in page.events],
            next=_text(page.following),
            complete=page.complete,
            missing=page.missing,
        )
    )


def event_view(event: ActivityEvent) -> EventView:
    """An event as the API shows it."""
    return EventView(
        id=event.id,
        cursor=_text(event.place),
        at=moment(event.at),
        node=event.node,
        kind=event.kind,
        severity=Severity(event.severity),
        fields=event.fields,
    )


def _text(place: int | None) -> str | None:
    return None if place is None else str(place)


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
            Parameter(
                "after",
                "`next` of an earlier answer, or the `cursor` of an event.",
                {"type": "string", "pattern": f"^{_AFTER.pattern}$"},
                "4711",
            ),
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
            Parameter(
                "node", "Only what this node said.", {"type": "string", "pattern": f"^{_NODE.pattern}$"}, "node-1"
            ),
            parameters.LIMIT,
        ),
        ("invalid_parameter",),
    ),
)
