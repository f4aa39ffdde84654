"""Reading jobs and removing them: everything on the collection that does not move a job through its life."""

from __future__ import annotations

import asyncio
import base64
import random
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import OperationFailure, PyMongoError

from hegemon.queue import mongo
from hegemon.queue.errors import InvalidJob, StoreUnavailable, WrongStore
from hegemon.queue.ids import floor_id, is_id, unpack_id
from hegemon.queue.jobs import Document
from hegemon.queue.states import FINAL, LIVE, Status

LAYOUT: Final = 1
_PAGE: Final = 1000
_SCAN: Final = 5000
# Far more than nodes can be unlucky one after another.
_CONFLICTS: Final = 50
_CONFLICT_PAUSE_S: Final = 0.05
# How long a removal waits for its turn: while MongoDB is away each one before it takes a whole time-out.
TURN_S: Final = 10.0


class JobQueries:
    """Reads and removals on the collection `jobs`, and the set-up of the database."""

    def __init__(self, client: mongo.Client, database: mongo.Database) -> None:
        self._client = client
        self._database = database
        self.jobs = database.get_collection("jobs")
        self._meta = database.get_collection("cluster")
        # Removals of this node wait for each other; only those of other nodes are met in MongoDB.
        self._books = asyncio.Lock()

    async def prepare(self, cluster_id: str, algorithm: str) -> None:
        """Create the indexes and claim the database for this cluster; raises `WrongStore` if it is another's.

        Every index costs each write: these three earn it. `status` serves dead letters, counts, pruning and rebuilds;
        the other two are partial and cost nothing for jobs without a key or tags.
        """
        async with mongo.translated():
            await self.jobs.create_index([("status", ASCENDING), ("_id", DESCENDING)])
            await self.jobs.create_index(
                [("scope", ASCENDING), ("idempotency.key", ASCENDING)],
                unique=True,
                partialFilterExpression={"idempotency.key": {"$exists": True}},
            )
            await self.jobs.create_index(
                [("tags", ASCENDING), ("_id", DESCENDING)], partialFilterExpression={"tags": {"$exists": True}}
            )
            mine = {"cluster_id": cluster_id, "algorithm": algorithm, "layout": LAYOUT}
            await self._meta.update_one({"_id": "identity"}, {"$setOnInsert": mine}, upsert=True)
            found = await self._meta.find_one({"_id": "identity"}) or {}
        # The algorithm may change between two lives of a cluster: `OfficeStore.agree`.
        for field, name in (("cluster_id", "CLUSTER_ID"), ("layout", "layout")):
            if found.get(field) != mine[field]:
                raise WrongStore(
                    f"this database belongs to a cluster with {name}={found.get(field)!r}, "
                    f"this node has {mine[field]!r}; "
                    f"use another MONGODB_DATABASE or set {name} to match"
                )

    async def get(self, job_id: str) -> Document | None:
        """The document, None if there is none."""
        if not is_id(job_id):
            return None
        async with mongo.translated():
            found: Document | None = await self.jobs.find_one({"_id": job_id})
        return found

    async def many(self, ids: Sequence[str], fields: Mapping[str, int] | None = None) -> dict[str, Document]:
        """Documents by id."""
        async with mongo.translated():
            cursor = self.jobs.find({"_id": {"$in": list(ids)}}, fields)
            return {document["_id"]: document async for document in cursor}

    async def by_key(self, scope: str, key: str) -> Document | None:
        """The job that an idempotency key stands for."""
        async with mongo.translated():
            found: Document | None = await self.jobs.find_one({"scope": scope, "idempotency.key": key})
        return found

    async def page(
        self, which: Mapping[str, Any], *, limit: int, cursor: str | None
    ) -> tuple[list[Document], str | None]:
        """Newest first, by keyset: inserts while paging neither repeat nor hide a job."""
        query: Document = dict(which)
        if cursor is not None:
            query["_id"] = {"$lt": _decode_cursor(cursor)}
        async with mongo.translated():
            found = await self.jobs.find(query).sort("_id", DESCENDING).limit(limit + 1).to_list(limit + 1)
        more = len(found) > limit
        found = found[:limit]
        return found, _encode_cursor(found[-1]["_id"]) if more and found else None

    async def counts(self) -> dict[str, int]:
        """Jobs by status, zeros included; a covered scan of the status index."""
        async with mongo.translated():
            cursor = self.jobs.aggregate([{"$group": {"_id": "$status", "n": {"$sum": 1}}}], hint="status_1__id_-1")
            counted = {item["_id"]: item["n"] async for item in cursor}
        return {status.value: counted.get(status.value, 0) for status in Status}

    async def ended(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids have ended or are gone."""
        async with mongo.translated():
            cursor = self.jobs.find({"_id": {"$in": list(ids)}, "status": {"$in": sorted(LIVE)}}, {"_id": 1})
            live = {document["_id"] async for document in cursor}
        return set(ids) - live

    async def live_in_order(self) -> AsyncIterator[list[str]]:
        """Ids of all live jobs in the order of `seq`, in pages; for a rebuild.

        Read in pages of its own, since one long cursor would need one long deadline; 24 bytes a job are kept meanwhile.
        """
        seqs, packed, last = array("q"), bytearray(), ""
        while True:
            query: Document = {"status": {"$in": sorted(LIVE)}, "_id": {"$gt": last}}
            async with mongo.translated():
                cursor = self.jobs.find(query, {"seq": 1}).sort("_id", ASCENDING).limit(_SCAN)
                found = await cursor.to_list(_SCAN)
            for document in found:
                seqs.append(document["seq"])
                packed += bytes.fromhex(document["_id"].replace("-", ""))
            if len(found) < _SCAN:
                break
            last = found[-1]["_id"]
        order = await asyncio.to_thread(sorted, range(len(seqs)), key=seqs.__getitem__)
        for first in range(0, len(order), _PAGE):
            yield [unpack_id(packed, place) for place in order[first : first + _PAGE]]

    async def live_of(self, incarnation: str) -> AsyncIterator[list[str]]:
        """Ids of live jobs that this node incarnation must have indexed, in pages; for the sweep after its death."""
        last = ""
        while True:
            query: Document = {"status": {"$in": sorted(LIVE)}, "origin.incarnation": incarnation, "_id": {"$gt": last}}
            async with mongo.translated():
                found = await self.jobs.find(query, {"_id": 1}).sort("_id", ASCENDING).limit(_PAGE).to_list(_PAGE)
            if not found:
                return
            last = found[-1]["_id"]
            yield [document["_id"] for document in found]

    async def live_page(self, after_id: str, before_ms: int, limit: int) -> list[str]:
        """Ids of live jobs accepted before `before_ms`, upwards from `after_id`."""
        query: Document = {"status": {"$in": sorted(LIVE)}, "_id": {"$gt": after_id, "$lt": floor_id(before_ms)}}
        return await self.ids(query, limit)

    async def ids(self, which: Mapping[str, Any], limit: int) -> list[str]:
        """At most `limit` ids, oldest first."""
        async with mongo.translated():
            found = await self.jobs.find(dict(which), {"_id": 1}).sort("_id", ASCENDING).limit(limit).to_list(limit)
        return [document["_id"] for document in found]

    async def remove(self, which: Mapping[str, Any], reason: str) -> int:
        """Delete ended jobs and add their number to the books, in one transaction. `which` is narrowed to final
        states. Two removals at once contend for the books: MongoDB refuses one of them, which is done again.
        """
        query = {"status": {"$in": sorted(FINAL)}, **which}
        async with mongo.translated(), self._turn():
            for left in reversed(range(_CONFLICTS)):
                try:
                    return await self._remove(query, reason)
                except PyMongoError as error:
                    if not (left and error.has_error_label("TransientTransactionError") and _conflicts(error)):
                        raise
                await asyncio.sleep(random.uniform(0, _CONFLICT_PAUSE_S))
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_S):
                await self._books.acquire()
        except TimeoutError:
            raise StoreUnavailable("MongoDB", f"no turn to remove jobs within {TURN_S:g} s") from None
        try:
            yield
        finally:
            self._books.release()

    async def _remove(self, query: Document, reason: str) -> int:
        async with mongo.transaction(self._client) as session:
            result = await self.jobs.delete_many(query, session=session)
            if result.deleted_count:
                await self._meta.update_one(
                    {"_id": "removed"}, {"$inc": {reason: result.deleted_count}}, upsert=True, session=session
                )
        return result.deleted_count

    async def prune(self, status: Status, before_ms: int, after_id: str, limit: int = _PAGE) -> tuple[int, str | None]:
        """Remove up to `limit` jobs in `status` that ended before `before_ms`, walking ids upwards from `after_id`.
        Returns (removed, the id to go on from, None when the walk is over)."""
        query: Document = {"status": status.value, "_id": {"$gt": after_id, "$lt": floor_id(before_ms)}}
        async with mongo.translated():
            found = await self.jobs.find(query, {"completed_at": 1}).sort("_id", ASCENDING).limit(limit).to_list(limit)
        old = [document["_id"] for document in found if document.get("completed_at", before_ms) < before_ms]
        removed = await self.remove({"_id": {"$in": old}, "status": status.value}, "retention") if old else 0
        return removed, found[-1]["_id"] if len(found) == limit else None


def _encode_cursor(job_id: str) -> str:
    return base64.urlsafe_b64encode(b"1" + bytes.fromhex(job_id.replace("-", ""))).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        data = b""
    job_id = unpack_id(data[1:], 0)
    if len(data) != 17 or data[:1] != b"1" or not is_id(job_id):
        raise InvalidJob("this cursor is not one that a page of jobs gave", field="cursor")
    return job_id


def _conflicts(error: PyMongoError) -> bool:
    return isinstance(error, OperationFailure) and error.code == mongo.WRITE_CONFLICT
