"""Accepting jobs: group commit into MongoDB, then one script a group into the index.

A caller is answered when the document is durable; the index follows. What was being written while others waited forms
the next group, so that one write serves all who came meanwhile. Every buffer has a bound; beyond it callers get
`Overloaded` or `QueueFull`.

    offered ──insert (group)──> durable, caller answered ──index_add (group n)──> indexed
                 │ unknown                                     │ refused: rebuild           │ reply lost: group n again
                 └─> doubtful: read back until settled          └─> probe, read, add what lives as a new group

The re-add rule, here and in the leader's recoveries: see that the body is absent, then read the document from the
majority, and only if it lives index it: a worker records an end before it removes the body. A group is applied once,
however late, to what stands in the index as it was seen; unseen goes in only what was accepted under this generation.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

import msgspec
import structlog

from hegemon.failpoints import failpoint
from hegemon.measures import GROUP, SUBMITTED, Meters
from hegemon.queue.acceptance import Limits
from hegemon.queue.breaker import Breaker
from hegemon.queue.clock import ClusterClock
from hegemon.queue.doubts import Doubts
from hegemon.queue.entries import encode_body, entry_text
from hegemon.queue.errors import (
    BatchTooLarge,
    IncarnationClosed,
    IndexRefused,
    InvalidJob,
    OutcomeUnknown,
    Overloaded,
    PayloadTooLarge,
    QueueError,
    QueueFull,
    StoreUnavailable,
)
from hegemon.queue.ids import IdSource, pack_ids, unpack_id
from hegemon.queue.index import MemberIndex
from hegemon.queue.jobs import Document, NewJob, Origin, idempotency_of, new_document
from hegemon.queue.pacing import pause_s
from hegemon.queue.provenance import UNKNOWN, Provenance
from hegemon.queue.queries import JobQueries
from hegemon.queue.replays import Replays
from hegemon.queue.sealing import PLAIN, Sealer
from hegemon.queue.sequence import SeqSource, due_seq
from hegemon.queue.states import LIVE
from hegemon.queue.store import JobStore

log = structlog.get_logger(__name__)

GROUP_MAX: Final = 1000
# After this long between insert and index others may have acted on the job: read it again first.
_STALE_S: Final = 5.0
BATCHES_AT_ONCE: Final = 2
_BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5)


class _Offer(msgspec.Struct, eq=False):
    document: Document
    answer: asyncio.Future[str | None]


class Submitter:
    """One per node. `run()` must be running; `submit` and `submit_batch` are called from the API's tasks."""

    def __init__(
        self,
        *,
        store: JobStore,
        queries: JobQueries,
        index: MemberIndex,
        clock: ClusterClock,
        origin: Origin,
        cluster_id: str,
        limits: Limits,
        mongo_breaker: Breaker,
        redis_breaker: Breaker,
        reborn: Callable[[], Awaitable[Origin]],
        indexed: Callable[[], None],
        working: Callable[[], bool],
        sealer: Sealer = PLAIN,
        meters: Meters | None = None,
    ) -> None:
        self._meters = meters or Meters()
        self._store = store
        self._queries = queries
        self._index = index
        self._clock = clock
        self.origin = origin
        self._cluster_id = cluster_id
        self._limits = limits
        self._mongo = mongo_breaker
        self._redis = redis_breaker
        self._reborn = reborn
        self._indexed = indexed
        self._working = working
        self._sealer = sealer
        self._ids = IdSource()
        self.seq = SeqSource()
        self._offers: deque[_Offer] = deque()
        self._offered = asyncio.Event()
        # With the time, and the generation that was whole before it was written: a later rebuild may have met it.
        self._unindexed: deque[tuple[Document, float, int]] = deque()
        self._to_index = asyncio.Event()
        self._again: deque[str] = deque()
        self._doubts = Doubts(store, self.enqueue_again)
        self._replays = Replays(queries, mongo_breaker, sealer)
        self._group = 0
        self._whole = 0  # The generation under which a script has last passed: its rebuild is over.
        self._commits: set[asyncio.Task[bool]] = set()
        self._inserting = 0
        self._batches = asyncio.Semaphore(BATCHES_AT_ONCE)
        self.depth = 0

    # -- called by the API ---------------------------------------------------------------------------------------------

    async def submit(
        self, job: NewJob, *, scope: str, idempotency_key: str | None = None, provenance: Provenance = UNKNOWN
    ) -> tuple[str, bool, str]:
        """(id, created, status). Durable when it returns."""
        self._admit(1)
        document = self._document(job, scope, provenance, idempotency_key)
        if idempotency_key is None:
            await self._offer(document)
            return document["_id"], True, document["status"]
        with self._replays.hold(scope, idempotency_key):
            if await self._offer(document) is None:
                return document["_id"], True, document["status"]
            earlier = await self._replays.earlier(job, scope, idempotency_key)
            return earlier["_id"], False, earlier["status"]

    async def submit_batch(
        self,
        jobs: Sequence[NewJob],
        *,
        scope: str,
        idempotency_key: str | None = None,
        provenance: Provenance = UNKNOWN,
    ) -> tuple[list[str], bool]:
        """(ids in order, created). All jobs are durable, or none is."""
        if len(jobs) > self._limits.batch_max:
            raise BatchTooLarge(f"{len(jobs)} jobs in a batch; at most {self._limits.batch_max} (MAX_BATCH_SIZE)")
        if not jobs:
            raise InvalidJob("a batch needs at least one job", field="jobs")
        self._admit(len(jobs))
        documents = []
        for i, job in enumerate(jobs):
            try:
                documents.append(self._document(job, scope, provenance))
            except InvalidJob as error:
                raise InvalidJob(str(error), field=f"jobs[{i}].{error.field}" if error.field else None) from error
            except PayloadTooLarge as error:
                raise PayloadTooLarge(f"jobs[{i}]: {error}") from error
        ids = [document["_id"] for document in documents]
        if idempotency_key is not None:
            key = idempotency_of(jobs, idempotency_key, self._sealer)
            documents[0]["idempotency"] = key | {"batch": pack_ids(ids)}
        with self._replays.hold(scope, idempotency_key):
            self._inserting += len(documents)
            # A caller who goes away must not part what is written from what is indexed.
            commit = asyncio.get_running_loop().create_task(self._commit(documents), name="submit-batch")
            self._commits.add(commit)
            commit.add_done_callback(self._commits.discard)
            if await asyncio.shield(commit) or idempotency_key is None:
                return ids, True
            packed = (await self._replays.earlier(jobs, scope, idempotency_key))["idempotency"]["batch"]
            return [unpack_id(packed, place) for place in range(len(ids))], False

    async def _commit(self, documents: Sequence[Document]) -> bool:
        """False if none was written, since their idempotency key is taken."""
        async with self._batches:
            failpoint("submit.before_insert")
            began, whole = time.monotonic(), self._whole
            try:
                async with self._mongo.guard():
                    written = await self._store.insert_batch(documents)
            except OutcomeUnknown:
                self._doubts.add([document["_id"] for document in documents])
                raise
            finally:
                self._inserting -= len(documents)
            failpoint("submit.after_insert")
            if written:
                self._meters.at(GROUP, "batch").observe(len(documents))
                self._enqueue(documents, whole)
                if pause := pause_s(time.monotonic() - began, self.depth, working=self._working()):
                    await asyncio.sleep(pause)
            return written

    def _enqueue(self, documents: Sequence[Document], whole: int) -> None:
        for queue, n in Counter(document["queue"] for document in documents).items():
            self._meters.at(SUBMITTED, queue).add(n)
        self._unindexed.extend((document, time.monotonic(), whole) for document in documents)
        self._to_index.set()

    def enqueue_again(self, ids: Sequence[str]) -> None:
        """Index these ids by the re-add rule: revived dead letters, and documents found after a doubt."""
        self._again.extend(ids)
        self._to_index.set()

    def idle(self) -> bool:
        """Whether nothing is on its way: a node may go without leaving work for the sweep."""
        return not (self._commits or self._inserting or self._offers or self._unindexed or self._again or self._doubts)

    def _admit(self, n: int) -> None:
        self._mongo.check()
        self._redis.check()
        buffered = self._inserting + len(self._offers) + len(self._unindexed) + len(self._again) + len(self._doubts)
        if buffered + n > self._limits.buffer_max:
            raise Overloaded(retry_after_s=1.0)
        if self.depth + buffered + n > self._limits.depth_max:
            words = f"the queue holds {self.depth} jobs (MAX_QUEUE_DEPTH={self._limits.depth_max})"
            raise QueueFull(words, retry_after_s=5.0)

    def _document(
        self, job: NewJob, scope: str, provenance: Provenance, idempotency_key: str | None = None
    ) -> Document:
        if len(job.payload) > self._limits.payload_bytes_max:
            raise PayloadTooLarge(
                f"the payload has {len(job.payload)} bytes; at most {self._limits.payload_bytes_max} "
                "(MAX_PAYLOAD_SIZE): store large data elsewhere and send a reference"
            )
        now = self._clock.now_ms()
        document = new_document(
            job,
            job_id=self._ids.next(now),
            seq=self.seq.next(now),
            now_ms=now,
            origin=self.origin,
            cluster_id=self._cluster_id,
            scope=scope,
            idempotency_key=idempotency_key,
            sealer=self._sealer,
            provenance=provenance,
        )
        if "due" in document:
            document["seq"] = due_seq(document["due"])
        return document

    async def _offer(self, document: Document) -> str | None:
        offer = _Offer(document, asyncio.get_running_loop().create_future())
        self._offers.append(offer)
        self._offered.set()
        if (outcome := await offer.answer) == "unknown":
            raise OutcomeUnknown("MongoDB")
        return outcome

    # -- loops ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Insert, index and settle until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._insert_loop(), name="submit-insert")
            group.create_task(self._index_loop(), name="submit-index")
            group.create_task(self._doubts.run(), name="submit-doubt")

    async def _insert_loop(self) -> None:
        while True:
            await self._offered.wait()
            offers = [self._offers.popleft() for _ in range(min(len(self._offers), GROUP_MAX))]
            if not offers:
                self._offered.clear()
                continue
            failpoint("submit.before_insert")
            self._inserting, whole = self._inserting + len(offers), self._whole
            try:
                async with self._mongo.guard():
                    outcome = await self._insert(offers)
            except OutcomeUnknown as error:
                self._doubts.add([offer.document["_id"] for offer in offers])
                self._reject(offers, error)
            except Exception as error:  # noqa: BLE001 - every caller gets its answer, whatever it is
                self._reject(offers, error)
            else:
                self._meters.at(GROUP, "insert").observe(len(offers))
                failpoint("submit.after_insert")
                unknown = [o.document["_id"] for o, item in zip(offers, outcome, strict=True) if item == "unknown"]
                self._doubts.add(unknown)
                self._enqueue([o.document for o, item in zip(offers, outcome, strict=True) if item is None], whole)
                for offer, item in zip(offers, outcome, strict=True):
                    if not offer.answer.done():
                        offer.answer.set_result(item)
            finally:
                self._inserting -= len(offers)

    async def _insert(self, offers: Sequence[_Offer]) -> list[str | None]:
        outcome = await self._store.insert([offer.document for offer in offers])
        if all(item == "unknown" for item in outcome):
            raise OutcomeUnknown("MongoDB")
        return outcome

    @staticmethod
    def _reject(offers: Sequence[_Offer], error: Exception) -> None:
        for offer in offers:
            if not offer.answer.done():
                # Each caller raises an instance of its own: a shared one would collect their tracebacks.
                own = OutcomeUnknown("MongoDB") if isinstance(error, OutcomeUnknown) else error
                offer.answer.set_exception(own)

    async def _index_loop(self) -> None:
        failures = 0
        while True:
            if not (self._unindexed or self._again):
                self._to_index.clear()
                await self._to_index.wait()
            try:
                await self._index_some()
                failures = 0
            except IncarnationClosed:
                await self._begin_again()
            except IndexRefused:
                # A rebuild is going on, or has taken place: it may have indexed these documents, or not.
                self._again.extend(document["_id"] for document, _, _ in self._unindexed)
                self._unindexed.clear()
                await asyncio.sleep(0.05)
            except QueueError:
                await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
            except Exception:  # a fault must not end the loop: callers would be answered, and nothing indexed
                log.exception("indexing_failed")
                await asyncio.sleep(_BACKOFF_S[-1])

    async def _begin_again(self) -> None:
        """This incarnation was taken for dead: what it accepted is swept by the leader, and a new one accepts."""
        with contextlib.suppress(StoreUnavailable):
            self.origin = await self._reborn()
            self._group = 0
            self._unindexed.clear()
            self._again.clear()
            return
        await asyncio.sleep(_BACKOFF_S[-1])

    async def _index_some(self) -> None:
        if self._index.generation == 0:
            raise IndexRefused
        if self._again:
            # First: what a rebuild refused was accepted before what has come since.
            ids = list(islice(self._again, GROUP_MAX))
            await self._add(await self._living(ids))
            for _ in ids:
                self._again.popleft()
        elif self._unindexed:
            group = list(islice(self._unindexed, GROUP_MAX))
            seen = [(document, 0) for document, _, _ in group]
            generation, patience = self._index.generation, time.monotonic() - _STALE_S
            if any(since < patience or whole != generation for _, since, whole in group):
                seen = await self._living([document["_id"] for document, _ in seen])
            await self._add(seen)
            for _ in group:
                self._unindexed.popleft()
            failpoint("submit.after_index")

    async def _add(self, documents: Sequence[tuple[Document, int]]) -> None:
        if not documents:
            return
        generation = self._index.generation
        jobs = [(entry_text(d), encode_body(d), d.get("due"), seen) for d, seen in documents]
        self._group += 1
        while True:
            try:
                async with self._redis.guard():
                    added, self.depth, changed = await self._index.add(self.origin.incarnation, self._group, jobs)
                self._meters.at(GROUP, "index").observe(len(jobs))
                # What was applied before has told a lost reply what it left out.
                self._again.extend(changed if added >= 0 else [d["_id"] for d, _ in documents])
                self._whole = generation
                self._indexed()
                return
            except StoreUnavailable:  # The reply may have been lost: the same group again is applied at most once.
                await asyncio.sleep(_BACKOFF_S[-1])
                if self._index.generation != generation:
                    raise IndexRefused from None

    async def _living(self, ids: Sequence[str]) -> list[tuple[Document, int]]:
        """Documents that live and whose present attempt the index does not hold, with the attempt that it holds."""
        generation = self._index.generation
        async with self._redis.guard():
            indexed = await self._index.probe(ids)
        self._whole = generation
        async with self._mongo.guard():
            found = await self._queries.many(ids)
        return [
            (document, indexed[document["_id"]])
            for document in (found[job_id] for job_id in ids if job_id in found)
            if document["status"] in LIVE and document["attempt"] > indexed[document["_id"]]
            # Another node may have requeued it by hand: then indexing it is that node's.
            if document["origin"]["incarnation"] == self.origin.incarnation
        ]
