"""The engine's parts on real stores, put together by hand: what tests of single parts start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from hegemon.queue import mongo
from hegemon.queue.entries import encode_body, entry_text
from hegemon.queue.ids import IdSource
from hegemon.queue.index import MemberIndex, WorkerIndex
from hegemon.queue.jobs import Document, NewJob, Origin, new_document
from hegemon.queue.leader_index import LeaderIndex, Placement
from hegemon.queue.office_store import OfficeStore
from hegemon.queue.queries import JobQueries
from hegemon.queue.redis import Redis
from hegemon.queue.sealing import PLAIN, Sealer
from hegemon.queue.store import JobStore

NOW_MS = 1_800_000_000_000
ORIGIN = Origin("n1", "n1~0")
TIMEOUT = timedelta(seconds=60)
_ids = IdSource()


def new_job(type_: str = "noop", payload: dict[str, Any] | None = None, **fields: Any) -> NewJob:
    """What a submitter says."""
    return NewJob(type=type_, payload=msgspec.Raw(msgspec.json.encode(payload or {})), **fields)


def document(
    seq: int = 1,
    *,
    now_ms: int = NOW_MS,
    attempt: int = 1,
    more: Document | None = None,
    sealer: Sealer = PLAIN,
    **fields: Any,
) -> Document:
    """A document as a submitter would write it; `fields` are those of NewJob, `more` overwrites what came out."""
    fields.setdefault("type_", "noop")
    ids = _ids if now_ms == NOW_MS else IdSource()
    made = new_document(
        new_job(**fields),
        job_id=ids.next(now_ms),
        seq=seq,
        now_ms=now_ms,
        origin=ORIGIN,
        cluster_id="test",
        sealer=sealer,
    )
    return made | {"attempt": attempt} | (more or {})


def again(before: Document, **changes: Any) -> Document:
    """The same job's next attempt."""
    return before | {"attempt": before["attempt"] + 1} | changes


@dataclass
class Index:
    """One cluster's index in Redis as its three callers see it. `raw` runs plain commands, the prefix put before."""

    redis: Redis
    member: MemberIndex
    leader: LeaderIndex
    run_id: str
    cluster_id: str
    url: str
    _group: int = field(default=0)

    async def add(self, *documents: Document, incarnation: str = "n1~0") -> int:
        """Index documents as their submitter does, each call a group; how many were added."""
        self._group += 1
        seen = await self.member.probe([d["_id"] for d in documents])
        jobs = [(entry_text(d), encode_body(d), d.get("due"), seen[d["_id"]]) for d in documents]
        return (await self.member.add(incarnation, self._group, jobs))[0]

    async def worker(self, name: str = "w1", *, window: int = 100, types: tuple[str, ...] = ("noop",)) -> WorkerIndex:
        """An open worker."""
        worker = WorkerIndex(self.redis, name)
        worker.generation = self.leader.generation
        information = {"node": "n1", "node_incarnation": "n1~0", "pid": 1, "slots": 10, "solo": False, "types": types}
        await worker.open(information | {"started_at": 0, "priority": 0}, window)
        return worker

    async def give(self, worker: str, *documents: Document) -> None:
        """Dispatch documents that stand, in this order, at the heads of their lists."""
        for item in documents:
            moved, _ = await self.leader.dispatch([(place(item), [(entry_text(item), worker)])])
            assert moved == 1

    async def raw(self, command: str, key: str, *args: str | int) -> Any:
        """A plain command on a key of this cluster."""
        return await self.redis.command(command, self.redis.prefix + key, *args)

    async def ready(self, queue_and_priority: str = "default:5") -> list[str]:
        """The ids in a ready list, head first."""
        return [item.decode()[:36] for item in await self.raw("LRANGE", f"ready:{queue_and_priority}", 0, -1)]

    async def mark(self, state: str, *, epoch: int | None = None, generation: int | None = None) -> None:
        """Move the marker on, as a rebuild of that epoch and generation does."""
        builder = LeaderIndex(
            self.redis, epoch=epoch or self.leader.epoch, generation=generation or self.leader.generation
        )
        await builder.rebuild_state(state, run_id=self.run_id, cluster_id=self.cluster_id, node="n1", clock_ms=0)

    def leader_of(self, epoch: int, generation: int = 1) -> LeaderIndex:
        """A leader of another office."""
        return LeaderIndex(self.redis, epoch=epoch, generation=generation)


def place(item: Document) -> str:
    """The ready list that a document belongs to."""
    return f"{item['queue']}:{item['priority']}"


def placement(item: Document) -> dict[str, Placement]:
    """What `reindex` takes for one document."""
    return {item["_id"]: Placement(entry_text(item), encode_body(item), item.get("due"))}


@asynccontextmanager
async def open_index(url: str, cluster_id: str) -> AsyncIterator[Index]:
    """An index that is whole and empty, under epoch 1 and generation 1."""
    redis = Redis(url, cluster_id, timeout=TIMEOUT)
    try:
        await redis.command("PING")
        member = MemberIndex(redis)
        member.generation = 1
        index = Index(redis, member, LeaderIndex(redis, epoch=1, generation=1), redis.run_id, cluster_id, url)
        await index.mark("rebuilding")
        await index.mark("ready")
        yield index
    finally:
        await redis.close()


@dataclass
class Jobs:
    """The job store of one database."""

    client: mongo.Client
    store: JobStore
    queries: JobQueries
    offices: OfficeStore

    async def put(self, *documents: Document) -> None:
        """Insert documents; each must become durable."""
        assert await self.store.insert(documents) == [None] * len(documents)

    async def get(self, item: Document) -> Document:
        """The document as it is now."""
        found = await self.queries.get(item["_id"])
        assert found is not None
        return found


@asynccontextmanager
async def open_jobs(uri: str, database: str, cluster_id: str) -> AsyncIterator[Jobs]:
    """A prepared database."""
    client = mongo.connect(uri, timeout=TIMEOUT)
    try:
        part = client[database]
        jobs = Jobs(client, JobStore(client, part), JobQueries(client, part), OfficeStore(part))
        await jobs.queries.prepare(cluster_id, "solo")
        yield jobs
    finally:
        client.close()
