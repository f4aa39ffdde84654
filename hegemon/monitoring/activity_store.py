"""The events of all nodes in MongoDB's collection `activity`: one sequence for the whole cluster, kept for a while.

Each event has a place, 1, 2, 3, …, its `_id`. A writer takes the place behind the newest that it has seen; who finds it
taken tries the next. So no place is filled before the one below it, and whoever has read up to a place has missed
nothing: that is what makes `after` exact, without a lock, a counter or a transaction.

| what happens | what follows |
|---|---|
| two nodes want one place | MongoDB lets one of them have it, the other goes one further |
| the reply to a write is lost | it is written again; what had arrived is refused by (node, boot, seq) |
| the primary changes | reads are the majority's: a place that was read stays filled |
| a node tells much | each node has its last RING events of either share; what is older goes |
| many nodes come and go | beyond KEPT_MAX events, or KEPT_DAYS, the oldest go, whose ever they are |

One gap is left: a writer that finds a place taken on a primary that is deposed in that very moment may go behind it on
the next primary, which never had it. What fills the place then is missed by those who have read past it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import bson
import msgspec
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from hegemon.cluster.ports import ActivityEvent, ActivityFilter
from hegemon.events.bus import Recorded
from hegemon.events.table import about_jobs
from hegemon.queue import mongo
from hegemon.queue.errors import StoreUnavailable

JOBS, OTHERS = "jobs", "cluster"
KEPT_MAX: Final = 100_000
KEPT_DAYS: Final = 7
SWEEP_EVERY: Final = 1000
# Another node is in the way at most once for each of its writes.
IN_THE_WAY_MAX: Final = 100
_DAY_MS: Final = 86_400_000
_DUPLICATE: Final = 11000


class ActivityStore:
    """Appends and reads. Every method raises `StoreUnavailable`."""

    def __init__(self, database: mongo.Database) -> None:
        self._events = database.get_collection("activity")
        # A place that the majority has not got yet is taken all the same.
        self._latest = self._events.with_options(read_concern=ReadConcern("local"))

    async def prepare(self) -> None:
        """Create the index."""
        keys = [("node", ASCENDING), ("boot", ASCENDING), ("seq", ASCENDING)]
        async with mongo.translated():
            await self._events.create_index(keys, unique=True)

    async def newest(self) -> int:
        """The highest place; 0 before the first."""
        found = await self._find({}, DESCENDING, 1)
        return int(found[0]["_id"]) if found else 0

    async def kept(self, node: str, share: str) -> list[int]:
        """The places of a node's events of one share, oldest first."""
        async with mongo.translated():
            query = {"node": node, "share": share}
            found = await self._events.find(query, {"_id": 1}).sort("_id", ASCENDING).to_list(None)
        return [int(one["_id"]) for one in found]

    async def append(self, events: Sequence[Recorded]) -> dict[int, int]:
        """Give events of one node the next places, in their order: place by number. One that has a place already keeps
        it, and is left out."""
        places: dict[int, int] = {}
        left, place = list(events), await self._taken() + 1
        in_the_way = 0
        while in_the_way < IN_THE_WAY_MAX:
            documents = [_document(event, place + i) for i, event in enumerate(left)]
            clash = await self._insert(documents)
            done = len(left) if clash is None else clash[0]
            places.update({event.seq: place + i for i, event in enumerate(left[:done])})
            if clash is None:
                return places
            ours = clash[1]
            # It is there already, and its place stays free for the next; or the place was taken by another node.
            left, place = left[done + ours :], place + done
            if not left:
                return places
            if not ours:
                in_the_way += 1
                place = max(place, await self._taken()) + 1
        raise StoreUnavailable("MongoDB", "too many nodes tell of too much at once")

    async def remove(self, places: Sequence[int]) -> None:
        """Remove these."""
        async with mongo.translated():
            await self._events.delete_many({"_id": {"$in": list(places)}})

    async def sweep(self, newest: int, now_ms: int) -> None:
        """Remove what is too old, but never the newest: places are counted from it."""
        async with mongo.translated():
            await self._events.delete_many({"_id": {"$lte": newest - KEPT_MAX}})
            await self._events.delete_many({"_id": {"$lt": newest}, "at": {"$lt": now_ms - KEPT_DAYS * _DAY_MS}})

    async def page(
        self, which: ActivityFilter, *, limit: int, after: int | None
    ) -> tuple[list[ActivityEvent], int | None]:
        """Events, oldest first, and the place up to which nothing that matches was left out."""
        newest = await self.newest()
        query = _query(which)
        if after is None:
            found = (await self._find(query | {"_id": {"$lte": newest}}, DESCENDING, limit))[::-1]
            return [_event(one) for one in found], newest or None
        if after >= newest:
            return [], newest or None
        found = await self._find(query | {"_id": {"$gt": after, "$lte": newest}}, ASCENDING, limit)
        # Behind a whole page there may be more that match. A place beyond the newest is one of another collection.
        return [_event(one) for one in found], int(found[-1]["_id"]) if len(found) == limit else newest or None

    async def _taken(self) -> int:
        """The highest place that anybody has, as far as the primary knows."""
        async with mongo.translated():
            found = await self._latest.find({}, {"_id": 1}).sort("_id", DESCENDING).limit(1).to_list(1)
        return int(found[0]["_id"]) if found else 0

    async def _find(self, query: dict[str, Any], direction: int, limit: int) -> list[dict[str, Any]]:
        async with mongo.translated():
            return await self._events.find(query).sort("_id", direction).limit(limit).to_list(limit)

    async def _insert(self, documents: list[RawBSONDocument]) -> tuple[int, bool] | None:
        """None, or which document was refused, and whether because it is there already (else its place was taken)."""
        try:
            async with mongo.translated():
                await self._events.insert_many(documents, ordered=True)
        except BulkWriteError as error:
            refused: dict[str, Any] = next(iter((error.details or {}).get("writeErrors") or ()), {})
            if refused.get("code") != _DUPLICATE:
                raise StoreUnavailable("MongoDB", f"the activity cannot be written: {refused.get('code')}") from error
            return int(refused["index"]), "seq" in (refused.get("keyPattern") or ())
        return None


def shown(recorded: Recorded, place: int | None) -> ActivityEvent:
    """An event as the port has it."""
    event = recorded.event
    return ActivityEvent(
        id=recorded.id,
        place=place,
        at=recorded.at_ms,
        node=recorded.node,
        kind=event.kind,
        severity=event.severity.value,
        fields=msgspec.to_builtins(event),
    )


def _query(which: ActivityFilter) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if which.kind is not None:
        query["kind"] = {"$regex": f"^{re.escape(which.kind)}"}
    if which.severities is not None:
        query["severity"] = {"$in": sorted(which.severities)}
    if which.node is not None:
        query["node"] = which.node
    if which.queues is not None:
        # null: it has no such field, and is about no job.
        query["fields.queue"] = {"$in": [None, *sorted(which.queues)]}
    return query


def _document(recorded: Recorded, place: int) -> RawBSONDocument:
    event = recorded.event
    return RawBSONDocument(
        bson.encode(
            {
                "_id": place,
                "node": recorded.node,
                "boot": recorded.boot,
                "seq": recorded.seq,
                "at": recorded.at_ms,
                "kind": event.kind,
                "severity": event.severity.value,
                "share": JOBS if about_jobs(event.kind) else OTHERS,
                "fields": msgspec.to_builtins(event),
            }
        )
    )


def _event(found: dict[str, Any]) -> ActivityEvent:
    return ActivityEvent(
        id=f"{found['node']}:{found['boot']}:{found['seq']}",
        place=int(found["_id"]),
        at=found["at"],
        node=found["node"],
        kind=found["kind"],
        severity=found["severity"],
        fields=found["fields"],
    )
