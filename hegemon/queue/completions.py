"""Recording many completions with few writes: the form of the update decides how many jobs a second MongoDB records.

Where many jobs ended alike (same result, same milliseconds) they share one update. Where each has a result of its own,
one update carries an array of what differs, and each document picks its own by its place among the ids: measured at
49 µs of mongod a job, against 130 µs for an update a job.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from pymongo import UpdateMany, UpdateOne

from hegemon.queue.sealing import Sealed
from hegemon.queue.states import Event, Status, stored

Operation = UpdateOne | UpdateMany
_GONE: Final = ("suspect", "due", "error")
# Fewer jobs than this to a shared update, and carrying what differs is cheaper.
_SHARED_MIN: Final = 4
# A document finds its place by walking the ids: short lists keep that walk short.
_PICK_MAX: Final = 200


class Completion(msgspec.Struct, frozen=True):
    """A handler returned. `result` is JSON as it is to be stored, None for no result."""

    id: str
    attempt: int
    result: Sealed | None
    started_at: int
    completed_at: int


def completion_writes(attempt: int, items: Sequence[Completion], *, worker: str, node: str) -> Iterator[Operation]:
    """The updates that record these completions of one attempt number."""
    alike: dict[tuple[Sealed | None, int, int], list[str]] = defaultdict(list)
    for item in items:
        alike[item.result, item.started_at, item.completed_at].append(item.id)
    apart: list[Completion] = []
    for (result, started_at, completed_at), ids in alike.items():
        if len(ids) < _SHARED_MIN and len(items) > _SHARED_MIN:
            apart += (Completion(job_id, attempt, result, started_at, completed_at) for job_id in ids)
            continue
        fields = _fields(result, started_at, completed_at) | {"worker": worker, "node": node}
        yield UpdateMany(_claim(ids, attempt), {"$set": fields, "$unset": dict.fromkeys(_GONE, "")})
    for first in range(0, len(apart), _PICK_MAX):
        few = apart[first : first + _PICK_MAX]
        ids = [item.id for item in few]
        own = [_fields(item.result, item.started_at, item.completed_at) for item in few]
        place = {"$indexOfArray": [{"$literal": ids}, "$_id"]}
        merged = {"$mergeObjects": ["$$ROOT", {"$arrayElemAt": [{"$literal": own}, place]}, _literal(worker, node)]}
        yield UpdateMany(_claim(ids, attempt), [{"$replaceWith": merged}, {"$unset": list(_GONE)}])


def _claim(ids: Sequence[str], attempt: int) -> dict[str, Any]:
    return {"_id": {"$in": list(ids)}, "attempt": attempt, "status": {"$in": stored(Event.SUCCEED)}}


def _fields(result: Sealed | None, started_at: int, completed_at: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "status": Status.COMPLETED.value,
        "started_at": started_at,
        "completed_at": completed_at,
        "updated_at": completed_at,
    }
    if result is not None:
        fields["result"] = result.stored()
    return fields


def _literal(worker: str, node: str) -> dict[str, Any]:
    return {"$literal": {"worker": worker, "node": node}}
