"""The truth: one MongoDB document a job. This file holds every write that moves a job; each is a compare-and-set.

A write names the attempt it speaks for and the statuses it may find (from the transition table), so a stale claim
matches nothing. What matches nothing is read back before it is called stale: the first sending may have arrived and
only its reply been lost. An insert whose outcome is unknown is settled by reading back, never by guessing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import bson
import msgspec
from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from hegemon.queue import mongo
from hegemon.queue.completions import Completion, Operation, completion_writes
from hegemon.queue.errors import OutcomeUnknown, StoreUnavailable
from hegemon.queue.jobs import HISTORY_MAX, Document
from hegemon.queue.states import FINAL, LIVE, Event, Status, after, stored

LIVE_STATUSES: Final = sorted(LIVE)
FINAL_STATUSES: Final = sorted(FINAL)


class Failure(msgspec.Struct, frozen=True):
    """A try ended badly. `due` None means that the job is given up; else it runs again then, under `seq`."""

    id: str
    attempt: int
    outcome: str
    error: dict[str, Any]
    started_at: int | None
    ended_at: int
    counts: bool = True
    due: int | None = None
    seq: int = 0
    # The traceparent of the try's span, where it was traced.
    span: str | None = None


class JobStore:
    """Writes on the collection `jobs`. `worker` and `node` in the calls say who speaks."""

    def __init__(self, client: mongo.Client, database: mongo.Database) -> None:
        self._client = client
        self.jobs = database.get_collection("jobs")

    async def insert(self, documents: Sequence[Document]) -> list[str | None]:
        """Insert documents as one group: per document None (durable), or "duplicate" (idempotency key taken)
        or "unknown" (unreachable while settling). Raises `StoreUnavailable` when surely nothing was written."""
        raw = [RawBSONDocument(bson.encode(document)) for document in documents]
        outcome: list[str | None] = [None] * len(raw)
        try:
            await self.jobs.insert_many(raw, ordered=False)
        except BulkWriteError as error:
            details = error.details or {}
            lost = bool(details.get("writeConcernErrors"))
            for item in details.get("writeErrors", ()):
                # A retried sending meets its own documents: a duplicate `_id` is our own insert, not a conflict.
                if item["code"] == 11000 and "_id" not in item.get("keyPattern", {}):
                    outcome[item["index"]] = "duplicate"
                elif item["code"] != 11000:
                    outcome[item["index"]] = "unknown"
                    lost = True
            if lost:
                return await self._settle(documents, outcome)
        except PyMongoError as error:
            if not mongo.unavailable(error):
                raise
            return await self._settle(documents, ["unknown"] * len(documents))
        return outcome

    async def _settle(self, documents: Sequence[Document], outcome: list[str | None]) -> list[str | None]:
        try:
            present = await self.present([document["_id"] for document in documents])
        except StoreUnavailable:
            return [item or "unknown" for item in outcome]
        return [
            None if document["_id"] in present else (item if item == "duplicate" else "unknown")
            for document, item in zip(documents, outcome, strict=True)
        ]

    async def insert_batch(self, documents: Sequence[Document]) -> bool:
        """Insert all or none. False: none, since the idempotency key of one is taken, or is being taken by another
        node. Raises `OutcomeUnknown` when reading back fails too, or finds none.
        """
        raw = [RawBSONDocument(bson.encode(document)) for document in documents]
        try:
            async with mongo.transaction(self._client) as session:
                await self.jobs.insert_many(raw, ordered=True, session=session)
        except PyMongoError as error:
            if any("idempotency" in document for document in documents) and _is_contested(error):
                return False
            if not mongo.unavailable(error):
                raise
            try:
                present = await self.present([documents[0]["_id"]])
            except StoreUnavailable as second:
                raise OutcomeUnknown("MongoDB") from second
            if not present:
                raise OutcomeUnknown("MongoDB") from error
        return True

    async def present(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids have a document that the majority holds."""
        async with mongo.translated():
            cursor = self.jobs.find({"_id": {"$in": list(ids)}}, {"_id": 1})
            return {document["_id"] async for document in cursor}

    async def complete(self, done: Sequence[Completion], *, worker: str, node: str) -> set[str]:
        """Record completions as one group; returns the ids that were refused because the claim is not theirs any
        more.
        """
        by_attempt: dict[int, list[Completion]] = defaultdict(list)
        for item in done:
            by_attempt[item.attempt].append(item)
        operations: list[Operation] = []
        for attempt, items in by_attempt.items():
            operations += completion_writes(attempt, items, worker=worker, node=node)
        if await self._apply(operations) == len(done):
            return set()
        claims = {item.id: item.attempt for item in done}
        return await self._refused(claims, Status.COMPLETED, worker)

    async def fail(self, failures: Sequence[Failure], *, worker: str, node: str) -> set[str]:
        """Record failed tries: `retrying` under the next attempt, or `failed`; returns the refused ids."""
        operations: list[Operation] = [self._failure(item, worker, node) for item in failures]
        if await self._apply(operations) == len(failures):
            return set()
        again = {item.id: item.attempt + 1 for item in failures if item.due is not None}
        ended = {item.id: item.attempt for item in failures if item.due is None}
        return await self._refused(again, Status.RETRYING, worker) | await self._refused(ended, Status.FAILED, worker)

    @staticmethod
    def _failure(item: Failure, worker: str, node: str) -> UpdateOne:
        event = Event.GIVE_UP if item.due is None else Event.FAIL
        to = after(Status.RUNNING, event)
        record = {
            "attempt": item.attempt,
            "outcome": item.outcome,
            "node": node,
            "worker": worker,
            "started_at": item.started_at,
            "ended_at": item.ended_at,
            "error": f"{item.error.get('type')}: {item.error.get('message')}"[:500],
        }
        if item.span is not None:
            record["span"] = item.span
        fields: Document = {
            "status": to.value,
            "error": item.error,
            "updated_at": item.ended_at,
            "worker": worker,
            "node": node,
        }
        gone = {"suspect": ""}
        change: Document = {"$push": {"history": {"$each": [record], "$slice": -HISTORY_MAX}}}
        if item.started_at is not None:
            fields["started_at"] = item.started_at
        increments = {"failures": 1} if item.counts else {}
        if item.due is None:
            fields["completed_at"] = item.ended_at
            gone["due"] = ""
        else:
            fields |= {"due": item.due, "seq": item.seq}
            increments["attempt"] = 1
        if increments:
            change["$inc"] = increments
        which = {"_id": item.id, "attempt": item.attempt, "status": {"$in": stored(event)}}
        return UpdateOne(which, change | {"$set": fields, "$unset": gone})

    async def mark_started(
        self, claims: Iterable[tuple[str, int, int]], *, worker: str, node: str, now_ms: int
    ) -> None:
        """Show jobs as running: (id, attempt, started_at). One group; a completion that came first is left alone."""
        statuses = stored(Event.START)
        await self._apply(
            [
                UpdateOne(
                    {"_id": job_id, "attempt": attempt, "status": {"$in": statuses}},
                    {
                        "$set": {
                            "status": Status.RUNNING.value,
                            "started_at": started_at,
                            "worker": worker,
                            "node": node,
                            "updated_at": now_ms,
                        }
                    },
                )
                for job_id, attempt, started_at in claims
            ]
        )

    async def mark_due(self, ids_by_attempt: Iterable[tuple[str, int]], now_ms: int) -> None:
        """Show promoted jobs as pending. Only for readers: nothing depends on it."""
        groups: dict[int, list[str]] = defaultdict(list)
        for job_id, attempt in ids_by_attempt:
            groups[attempt].append(job_id)
        await self._apply(
            [
                UpdateMany(
                    {"_id": {"$in": ids}, "attempt": attempt, "status": {"$in": stored(Event.DUE)}},
                    {"$set": {"status": Status.PENDING.value, "updated_at": now_ms}, "$unset": {"due": ""}},
                )
                for attempt, ids in groups.items()
            ]
        )

    async def note(self, notes: Sequence[tuple[str, int, dict[str, Any] | None, list[dict[str, Any]]]]) -> None:
        """Progress and log lines of running attempts: (id, attempt, progress or None, new log lines)."""
        operations: list[Operation] = []
        for job_id, attempt, progress, lines in notes:
            change: Document = {}
            if progress is not None:
                change["$set"] = {"progress": progress}
            if lines:
                change["$push"] = {"logs": {"$each": lines, "$slice": -200}}
            operations.append(UpdateOne({"_id": job_id, "attempt": attempt, "status": {"$in": LIVE_STATUSES}}, change))
        await self._apply(operations)

    async def cancel(self, job_id: str, now_ms: int) -> Document | None:
        """Cancel a live job; the document as this made it, None if there is no live one."""
        async with mongo.translated():
            found: Document | None = await self.jobs.find_one_and_update(
                {"_id": job_id, "status": {"$in": stored(Event.CANCEL)}},
                {
                    "$set": {"status": Status.CANCELLED.value, "completed_at": now_ms, "updated_at": now_ms},
                    "$unset": {"due": "", "suspect": ""},
                },
                return_document=ReturnDocument.AFTER,
            )
        return found

    async def change(self, changes: Sequence[tuple[str, int, Document]]) -> int:
        """Compare-and-set by (id, attempt) on live documents: the leader's recoveries. How many matched."""
        groups: dict[tuple[int, bytes], tuple[list[str], Document]] = {}
        for job_id, attempt, change in changes:
            groups.setdefault((attempt, bson.encode(change)), ([], change))[0].append(job_id)
        return await self._apply(
            [
                UpdateMany({"_id": {"$in": ids}, "attempt": attempt, "status": {"$in": LIVE_STATUSES}}, change)
                for (attempt, _), (ids, change) in groups.items()
            ]
        )

    async def revive(self, ids: Sequence[str], origin: Document, seq_from: int, now_ms: int) -> int:
        """Failed or cancelled jobs live again, with fresh tries, under the next attempt; `origin` must index them.
        How many.
        """
        statuses = stored(Event.REQUEUE)
        return await self._apply(
            [
                UpdateOne({"_id": job_id, "status": {"$in": statuses}}, _revival(origin, seq_from + i, now_ms))
                for i, job_id in enumerate(ids)
            ]
        )

    async def revive_one(self, job_id: str, origin: Document, seq: int, now_ms: int) -> Document | None:
        """The same for one job: the document as this made it, None if the job was not failed or cancelled."""
        async with mongo.translated():
            found: Document | None = await self.jobs.find_one_and_update(
                {"_id": job_id, "status": {"$in": stored(Event.REQUEUE)}},
                _revival(origin, seq, now_ms),
                return_document=ReturnDocument.AFTER,
            )
        return found

    async def _apply(self, operations: Sequence[Operation]) -> int:
        if not operations:
            return 0
        async with mongo.translated():
            result = await self.jobs.bulk_write(list(operations), ordered=False)
        return result.matched_count

    async def _refused(self, claims: dict[str, int], status: Status, worker: str) -> set[str]:
        """Of claims that may not have matched: those whose document does not show our own write."""
        if not claims:
            return set()
        async with mongo.translated():
            fields = {"status": 1, "attempt": 1, "worker": 1, "history": 1}
            cursor = self.jobs.find({"_id": {"$in": list(claims)}}, fields)
            own = {found["_id"] async for found in cursor if _shows(found, claims[found["_id"]], status, worker)}
        return set(claims) - own


def _is_contested(error: PyMongoError) -> bool:
    """Whether a transaction failed since another one has written the same idempotency key, or is about to."""
    items: list[tuple[int | None, Document]] = [(error.code, {})] if isinstance(error, OperationFailure) else []
    if isinstance(error, BulkWriteError):
        items += [(item["code"], item.get("keyPattern", {})) for item in (error.details or {}).get("writeErrors", ())]
    return any(
        code == mongo.WRITE_CONFLICT or (code == 11000 and "idempotency.key" in pattern) for code, pattern in items
    )


def _revival(origin: Document, seq: int, now_ms: int) -> Document:
    fields: Document = {
        "status": Status.PENDING.value,
        "failures": 0,
        "crashes": 0,
        "losses": 0,
        "seq": seq,
        "origin": origin,
        "updated_at": now_ms,
    }
    gone = dict.fromkeys(("completed_at", "due", "error", "expires_at", "suspect"), "")
    return {"$set": fields, "$inc": {"attempt": 1}, "$unset": gone}


def _shows(found: Document, attempt: int, status: Status, worker: str) -> bool:
    if status is Status.RETRYING:
        # The next attempt may already run: the history has the last word.
        return any(item["attempt"] == attempt - 1 and item.get("worker") == worker for item in found.get("history", ()))
    return bool(found["attempt"] == attempt and found["status"] == status and found.get("worker") == worker)
