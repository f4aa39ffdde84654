"""What a node offers to its API: the ports `Jobs` and `Observer`, put together from the queue, the office and the
supervisor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog

from hegemon.cluster.ports import DeadFilter, JobFilter, JobPage, Submitted, SubmittedBatch
from hegemon.events.bus import Emit, unheard
from hegemon.events.jobs import JobCancelled, JobDeleted, JobRequeued, JobsPurged, JobsRequeued
from hegemon.failpoints import failpoint
from hegemon.queue.breaker import Breaker
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import entry_text
from hegemon.queue.errors import InvalidJob, JobNotFound, JobStateConflict, QueueError
from hegemon.queue.index import MemberIndex
from hegemon.queue.jobs import Document, Job, NewJob, from_document
from hegemon.queue.provenance import UNKNOWN, Provenance
from hegemon.queue.queries import JobQueries
from hegemon.queue.sealing import PLAIN, Sealer
from hegemon.queue.states import FINAL, LIVE, Status
from hegemon.queue.store import JobStore
from hegemon.queue.submit import Submitter
from hegemon.tracing.ports import SubmissionTracer, untraced

log = structlog.get_logger(__name__)

DEAD_PAGE: Final = 500
WAITERS_MAX: Final = 5_000
WAIT_FAST_S: Final = 0.02
WAIT_SLOW_S: Final = 0.2


class JobService:
    """The port `Jobs`."""

    def __init__(
        self,
        *,
        submitter: Submitter,
        store: JobStore,
        queries: JobQueries,
        index: MemberIndex,
        clock: ClusterClock,
        mongo_breaker: Breaker,
        redis_breaker: Breaker,
        sealer: Sealer = PLAIN,
        emit: Emit = unheard,
        tracer: SubmissionTracer = untraced,
    ) -> None:
        self._submitter = submitter
        self._store = store
        self._queries = queries
        self._index = index
        self._clock = clock
        self._mongo = mongo_breaker
        self._redis = redis_breaker
        self._sealer = sealer
        self._emit = emit
        self._traced = tracer
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    async def submit(
        self, job: NewJob, *, scope: str, idempotency_key: str | None = None, provenance: Provenance = UNKNOWN
    ) -> Submitted:
        """See the port."""
        with self._traced([job], provenance) as span:
            job_id, created, status = await self._submitter.submit(
                job, scope=scope, idempotency_key=idempotency_key, provenance=span.provenance
            )
            span.accepted([job_id])
        log.debug("job_submitted", job=job_id, type=job.type, queue=job.queue)
        return Submitted(job_id, created, status)

    async def submit_batch(
        self,
        jobs: Sequence[NewJob],
        *,
        scope: str,
        idempotency_key: str | None = None,
        provenance: Provenance = UNKNOWN,
    ) -> SubmittedBatch:
        """See the port."""
        with self._traced(jobs, provenance) as span:
            ids, created = await self._submitter.submit_batch(
                jobs, scope=scope, idempotency_key=idempotency_key, provenance=span.provenance
            )
            span.accepted(ids)
        log.debug("batch_submitted", jobs=len(ids))
        return SubmittedBatch(ids, created)

    async def get(self, job_id: str) -> Job:
        """See the port."""
        return self._job(await self._document(job_id))

    async def list(self, which: JobFilter, *, limit: int, cursor: str | None = None) -> JobPage:
        """See the port."""
        query: Document = {}
        if which.status is not None:
            if which.status not in set(Status):
                raise InvalidJob(f"status is one of {', '.join(Status)}", field="status")
            query["status"] = which.status
        if which.type is not None:
            query["type"] = which.type
        if which.queue is not None:
            query["queue"] = which.queue
        if which.tag is not None:
            query["tags"] = which.tag
        query |= _within(which.queues)
        async with self._mongo.guard():
            documents, following = await self._queries.page(query, limit=limit, cursor=cursor)
        return JobPage([self._job(document) for document in documents], following)

    async def cancel(self, job_id: str) -> Job:
        """See the port. Order: make it undispatchable, record it, tell the worker that holds it; the first two are
        checked upon by the leader, should this process die in between."""
        document = await self._document(job_id)
        self._must(document, LIVE, "it has ended already")
        async with self._redis.guard():
            holder = await self._index.cancel(job_id, entry_text(document), self._clock.now_ms())
        failpoint("cancel.after_tombstone")
        async with self._mongo.guard():
            # Answered, and its holder told, as this write made it: by a second look it may live again.
            after = await self._store.cancel(job_id, self._clock.now_ms())
        failpoint("cancel.after_write")
        if after is not None:
            self._emit(JobCancelled(job_id, after["type"], after["queue"], holder or None))
        if after is None:
            after = await self._document(job_id)
            self._must(after, {Status.CANCELLED}, "it has ended already")
        if holder:
            try:
                async with self._redis.guard():
                    await self._index.cancel_held(holder, job_id, after["attempt"], self._clock.now_ms())
            except QueueError as error:
                # It is cancelled; its handler runs to its end for nothing, and its result is refused.
                log.warning("cancel_not_delivered", job=job_id, worker=holder, reason=str(error))
        return self._job(after)

    async def retry(self, job_id: str) -> Job:
        """See the port."""
        now_ms = self._clock.now_ms()
        async with self._mongo.guard():
            # Answered as this write made it: by a second look it may have run already.
            revived = await self._store.revive_one(
                job_id, msgspec.to_builtins(self._submitter.origin), self._submitter.seq.next(now_ms), now_ms
            )
        if revived is None:
            found = await self._document(job_id)
            raise JobStateConflict(
                f"the job is {found['status']}: only a failed or cancelled job can be retried", status=found["status"]
            )
        failpoint("requeue.after_write")
        self._submitter.enqueue_again([job_id])
        self._emit(JobRequeued(job_id, revived["type"], revived["queue"]))
        return self._job(revived)

    async def delete(self, job_id: str) -> None:
        """See the port."""
        document = await self._document(job_id)
        self._must(document, FINAL, "it is live: cancel it first")
        async with self._mongo.guard():
            await self._queries.remove({"_id": job_id}, "request")
        self._emit(JobDeleted(job_id, document["type"], document["queue"]))

    async def wait(self, job_id: str, *, timeout_s: float) -> Job:
        """See the port."""
        document = await self._document(job_id)
        if document["status"] in LIVE and timeout_s > 0:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(job_id, []).append(future)
            try:
                async with asyncio.timeout(timeout_s):
                    await future
            except TimeoutError:
                pass
            finally:
                if futures := self._waiting.get(job_id):
                    futures.remove(future)
                    if not futures:
                        del self._waiting[job_id]
            document = await self._document(job_id)
        return self._job(document)

    async def requeue_dead(self, which: DeadFilter) -> int:
        """See the port."""
        if count := await self._each_dead(which, self._revive):
            self._emit(JobsRequeued(count))
        return count

    async def purge_dead(self, which: DeadFilter) -> int:
        """See the port."""

        async def remove(ids: Sequence[str]) -> int:
            async with self._mongo.guard():
                return await self._queries.remove({"_id": {"$in": list(ids)}, "status": Status.FAILED.value}, "request")

        if count := await self._each_dead(which, remove):
            self._emit(JobsPurged(count))
        return count

    async def run(self) -> None:
        """Answer waiters: one query for all of them, more often while somebody has just come."""
        while True:
            await asyncio.sleep(WAIT_FAST_S if len(self._waiting) <= 100 else WAIT_SLOW_S)
            if not self._waiting:
                continue
            try:
                ended = await self._queries.ended(list(self._waiting)[:WAITERS_MAX])
            except QueueError:
                await asyncio.sleep(WAIT_SLOW_S)
                continue
            for job_id in ended:
                for future in self._waiting.get(job_id, ()):
                    if not future.done():
                        future.set_result(None)

    async def _revive(self, ids: Sequence[str]) -> int:
        now = self._clock.now_ms()
        seq = self._submitter.seq.next(now)
        async with self._mongo.guard():
            revived = await self._store.revive(ids, msgspec.to_builtins(self._submitter.origin), seq, now)
        failpoint("requeue.after_write")
        self._submitter.enqueue_again(ids)
        return revived

    async def _each_dead(self, which: DeadFilter, act: Any) -> int:
        query: Document = {"status": Status.FAILED.value} | _within(which.queues)
        if which.ids is not None:
            query["_id"] = {"$in": list(which.ids)}
        if which.type is not None:
            query["type"] = which.type
        if which.queue is not None:
            query["queue"] = which.queue
        # Those that fail again while this goes on have a later place: one pass over what was dead when it began.
        last, count = "", 0
        bound = time.monotonic() + 60.0
        while time.monotonic() < bound:
            narrowed = query if which.ids is not None else query | {"_id": {"$gt": last}}
            async with self._mongo.guard():
                ids = await self._queries.ids(narrowed, DEAD_PAGE)
            if not ids:
                break
            count += await act(ids)
            last = ids[-1]
            if len(ids) < DEAD_PAGE or which.ids is not None:
                break
        return count

    def _job(self, document: Document) -> Job:
        return from_document(document, self._sealer)

    async def _document(self, job_id: str) -> Document:
        async with self._mongo.guard():
            document = await self._queries.get(job_id)
        if document is None:
            raise JobNotFound(f"there is no job {job_id}")
        return document

    @staticmethod
    def _must(document: Document, statuses: frozenset[Status] | set[Status], why: str) -> None:
        if document["status"] not in statuses:
            raise JobStateConflict(f"the job is {document['status']}: {why}", status=document["status"])


def _within(queues: frozenset[str] | None) -> Document:
    # Beside `queue`, not in its place: a caller may ask for one that is not theirs, and finds nothing.
    return {} if queues is None else {"$and": [{"queue": {"$in": sorted(queues)}}]}
