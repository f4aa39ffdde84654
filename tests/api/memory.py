"""The API's two ports in memory. It stands in for the engine until the engine's own end-to-end tests put real stores
behind the same endpoints: what is tested here is HTTP, and no promise about durability, order of work or fencing.

Documents are made and read by the real `new_document` and `from_document`, so that what is refused is what the engine
refuses.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from hegemon.cluster.log_ports import LogFilter, LogPage
from hegemon.cluster.ports import (
    ActivityEvent,
    ActivityFilter,
    ActivityPage,
    DeadFilter,
    ElectionInfo,
    JobFilter,
    JobPage,
    LeaderInfo,
    Metrics,
    NodeInfo,
    NodeStats,
    QueueStats,
    Stats,
    Submitted,
    SubmittedBatch,
    TypeInfo,
    WorkerInfo,
    member_info,
)
from hegemon.cluster.ports import Health as Verdict
from hegemon.election.contract import Health, Member
from hegemon.monitoring.activity_feed import NodeFeed
from hegemon.monitoring.log_ring import LogRing
from hegemon.queue.errors import (
    BatchTooLarge,
    IdempotencyKeyReused,
    InvalidJob,
    JobNotFound,
    JobStateConflict,
    PayloadTooLarge,
)
from hegemon.queue.ids import IdSource
from hegemon.queue.jobs import Document, Job, NewJob, Origin, from_document, new_document
from hegemon.queue.provenance import UNKNOWN, Provenance
from hegemon.queue.states import FINAL, LIVE, Status
from tests.api.memory_activity import MemoryActivity

BATCH_MAX = 50
PAYLOAD_BYTES_MAX = 10_000
STARTED_AT = 1_760_000_000_000


class MemoryObserver:
    """`Observer` with fixed answers, but for the counts. `failure`, when set, is raised by whatever is called."""

    def __init__(self) -> None:
        self.reset()

    @property
    def feed(self) -> NodeFeed:
        return self.shared.feed

    def reset(self) -> None:
        self.documents: dict[str, Document] = {}
        self.failure: Exception | None = None
        self.leads = True
        self.pauses: list[float] = []
        self.office = LeaderInfo(None, 7, 2, None)
        self.events: list[ActivityEvent] = []
        self.shared = MemoryActivity(self.events)
        # Whose events are lacking, when the store that all share is away.
        self.missing: list[str] | None = None
        self.ring = LogRing(1 << 20)
        self.health = {"live": Verdict(True, {"claim loop": "ok"}), "ready": Verdict(True, {"mongodb": "ok"})}

    async def stats(self) -> Stats:
        self._fail()
        jobs = {status.value: 0 for status in Status}
        for document in self.documents.values():
            jobs[document["status"]] += 1
        return Stats(jobs, QueueStats(1, 2, 3, {"resize": 4}), NodeStats("n1", True, "least_loaded"))

    async def workers(self) -> list[WorkerInfo]:
        self._fail()
        return [WorkerInfo("n1.w0~1", "n1", 42, 8, 3, False, ["echo"], STARTED_AT)]

    async def nodes(self) -> list[NodeInfo]:
        self._fail()
        url = "http://127.0.0.1:8080"
        return [NodeInfo("n1", "n1~1", url, "0.1.0", True, True, 8, 3, "least_loaded", STARTED_AT)]

    async def types(self) -> list[TypeInfo]:
        self._fail()
        schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        return [
            TypeInfo(type="bare", nodes=["n1"]),
            TypeInfo(
                type="echo", nodes=["n1", "n2"], differing=["n2"], description="Say.", schema=schema, timeout_ms=1500
            ),
        ]

    async def leader(self) -> LeaderInfo:
        self._fail()
        return self.office

    def election(self) -> ElectionInfo:
        self._fail()
        changes = [{"at": STARTED_AT, "leader": "n1"}]
        members = [
            member_info(
                Member("n1", address="127.0.0.1:7946"), {"url": "http://n1", "slots": 8, "held": 3, "types": ["b", "a"]}
            ),
            member_info(Member("n2", health=Health.DEAD), {}),
        ]
        algorithms = ["solo", "bully", "raft", "gossip"]
        role = "leader" if self.leads else "follower"
        return ElectionInfo("n1", "gossip", algorithms, role, self.leads, self.leads, "n1", 1, 7, members, changes)

    async def step_down(self, pause_s: float) -> bool:
        self._fail()
        if not self.leads:
            return False
        self.leads, self.pauses = False, [*self.pauses, pause_s]
        return True

    def cluster(self) -> dict[str, Any]:
        self._fail()
        return {
            "cluster_id": "c",
            "version": "0.1.0",
            "node_id": "n1",
            "algorithm": "solo",
            "strategy": "least_loaded",
            "generation": 2,
        }

    async def activity(self, which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
        self._fail()
        page = await self.shared.page(which, limit=limit, after=after)
        if self.missing is not None:
            return ActivityPage(page.events, after, complete=False, missing=self.missing)
        return page

    def logs(self, which: LogFilter, *, limit: int, after: str | None) -> LogPage:
        self._fail()
        return self.ring.page(which, limit=limit, after=after)

    # for tests
    def happen(
        self, kind: str, severity: str = "info", node: str = "n1", *, placed: bool = True, **fields: Any
    ) -> None:
        """One more event; one that is not `placed` has yet to get to the store."""
        event = ActivityEvent(
            id=f"{node}:1:{len(self.events) + 1}",
            place=None,
            at=STARTED_AT,
            node=node,
            kind=kind,
            severity=severity,
            fields=fields,
        )
        self.events.append(event)
        if placed:
            self.place(event.id)

    def place(self, identity: str) -> None:
        """An event has got to the store."""
        event = next(event for event in self.events if event.id == identity)
        self.events.remove(event)
        place = 1 + max((one.place or 0 for one in self.events), default=0)
        self.events.append(msgspec.structs.replace(event, place=place))

    async def live(self) -> Verdict:
        self._fail()
        return self.health["live"]

    async def ready(self) -> Verdict:
        self._fail()
        return self.health["ready"]

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryNode(MemoryObserver):
    """`Jobs` over a dict, beside the observer. (Apart, since a class with a method `list` has no other `list`.)"""

    def reset(self) -> None:
        super().reset()
        self.keys: dict[tuple[str, str], tuple[list[str], bytes]] = {}
        self.scopes: list[str] = []
        self.asked: list[Any] = []
        self.waiting = 0
        self.waits_cancelled = 0
        self._ids = IdSource()
        self._seq = 0

    async def submit(
        self, job: NewJob, *, scope: str, idempotency_key: str | None = None, provenance: Provenance = UNKNOWN
    ) -> Submitted:
        self._fail()
        self.scopes.append(scope)
        earlier = self._earlier(job, scope, idempotency_key)
        if earlier:
            return Submitted(earlier[0], False, self.documents[earlier[0]]["status"])
        document = self._document(job, scope, idempotency_key, provenance)
        self.documents[document["_id"]] = document
        self._remember(job, scope, idempotency_key, [document["_id"]])
        return Submitted(document["_id"], True, document["status"])

    async def submit_batch(
        self,
        jobs: Sequence[NewJob],
        *,
        scope: str,
        idempotency_key: str | None = None,
        provenance: Provenance = UNKNOWN,
    ) -> SubmittedBatch:
        self._fail()
        if len(jobs) > BATCH_MAX:
            raise BatchTooLarge
        earlier = self._earlier(jobs, scope, idempotency_key)
        if earlier:
            return SubmittedBatch(list(earlier), False)
        documents = []
        for i, job in enumerate(jobs):
            try:
                documents.append(self._document(job, scope, None, provenance))
            except InvalidJob as error:
                raise InvalidJob(str(error), field=f"jobs[{i}].{error.field}") from error
        self.documents.update((document["_id"], document) for document in documents)
        ids = [document["_id"] for document in documents]
        self._remember(jobs, scope, idempotency_key, ids)
        return SubmittedBatch(ids, True)

    async def get(self, job_id: str) -> Job:
        return from_document(self._find(job_id))

    async def list(self, which: JobFilter, *, limit: int, cursor: str | None = None) -> JobPage:
        self._fail()
        self.asked.append((which, limit, cursor))
        if cursor is not None and not cursor.startswith("after-"):
            raise InvalidJob("is not a cursor of this API", field="cursor")
        before = cursor.removeprefix("after-") if cursor else "~"
        found = [
            document
            for job_id, document in sorted(self.documents.items(), reverse=True)
            if job_id < before
            and which.status in (None, document["status"])
            and which.type in (None, document["type"])
            and which.queue in (None, document["queue"])
            and (which.queues is None or document["queue"] in which.queues)
            and (which.tag is None or which.tag in document.get("tags", ()))
        ]
        more = len(found) > limit
        page = [from_document(document) for document in found[:limit]]
        return JobPage(page, f"after-{page[-1].id}" if more else None)

    async def cancel(self, job_id: str) -> Job:
        return self._move(job_id, frozenset(LIVE), Status.CANCELLED)

    async def retry(self, job_id: str) -> Job:
        return self._move(job_id, frozenset({Status.FAILED, Status.CANCELLED}), Status.PENDING)

    async def delete(self, job_id: str) -> None:
        document = self._find(job_id)
        if document["status"] not in FINAL:
            raise JobStateConflict("cancel it first", status=document["status"])
        del self.documents[job_id]

    async def wait(self, job_id: str, *, timeout_s: float) -> Job:
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                # Polled, since tests change documents from a thread of their own.
                while self._find(job_id)["status"] not in FINAL:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self.waits_cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return await self.get(job_id)

    async def requeue_dead(self, which: DeadFilter) -> int:
        found = self._dead(which)
        for document in found:
            document["status"] = Status.PENDING.value
        return len(found)

    async def purge_dead(self, which: DeadFilter) -> int:
        found = self._dead(which)
        for document in found:
            del self.documents[document["_id"]]
        return len(found)

    def _earlier(self, body: Any, scope: str, key: str | None) -> Sequence[str]:
        known = self.keys.get((scope, key)) if key is not None else None
        if known is not None and known[1] != msgspec.json.encode(body):
            raise IdempotencyKeyReused
        return known[0] if known is not None else ()

    def _remember(self, body: Any, scope: str, key: str | None, ids: Sequence[str]) -> None:
        if key is not None:
            self.keys[scope, key] = (list(ids), msgspec.json.encode(body))

    # for tests
    def finish(self, job_id: str, result: Any) -> None:
        """Complete a job with `result`."""
        document = self.documents[job_id]
        now_ms = document["created_at"] + 5
        document.update(status=Status.COMPLETED.value, started_at=now_ms, completed_at=now_ms, node="n1", worker="w")
        document["result"] = {"enc": "json", "data": json.dumps(result).encode()}

    def break_down(self, job_id: str) -> None:
        """Make a dead letter of a job."""
        self.documents[job_id].update(
            status=Status.FAILED.value,
            error={"type": "ValueError", "message": "no", "traceback": "…"},
            history=[{"attempt": 1, "outcome": "failed", "started_at": STARTED_AT, "error": "ValueError: no"}],
            logs=[{"at": STARTED_AT, "message": "so far so good"}],
        )

    def _find(self, job_id: str) -> Document:
        self._fail()
        if job_id not in self.documents:
            raise JobNotFound
        return self.documents[job_id]

    def _move(self, job_id: str, sources: frozenset[Status], to: Status) -> Job:
        document = self._find(job_id)
        if document["status"] not in sources:
            raise JobStateConflict(f"the job is {document['status']}", status=document["status"])
        document["status"] = to.value
        return from_document(document)

    def _dead(self, which: DeadFilter) -> Sequence[Document]:
        self._fail()
        self.asked.append(which)
        return [
            document
            for document in self.documents.values()
            if document["status"] == Status.FAILED
            and (which.ids is None or document["_id"] in which.ids)
            and which.type in (None, document["type"])
            and which.queue in (None, document["queue"])
            and (which.queues is None or document["queue"] in which.queues)
        ]

    def _document(self, job: NewJob, scope: str, key: str | None, provenance: Provenance) -> Document:
        if len(msgspec.json.encode(job.payload)) > PAYLOAD_BYTES_MAX:
            raise PayloadTooLarge
        now_ms = time.time_ns() // 1_000_000
        self._seq += 1
        return new_document(
            job,
            job_id=self._ids.next(now_ms),
            seq=self._seq,
            now_ms=now_ms,
            origin=Origin("n1", "n1~1"),
            cluster_id="c",
            scope=scope,
            idempotency_key=key,
            provenance=provenance,
        )


def metrics_of(text: bytes) -> Metrics:
    """What gives `text`, whatever format is asked for."""

    async def render(accept: str) -> tuple[bytes, bytes]:
        return text, b"text/plain; version=0.0.4; charset=utf-8"

    return render
