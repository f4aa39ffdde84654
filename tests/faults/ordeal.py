"""A trial between two faulty stores: mixed load through the proxies, and promises of its own that it checks."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.faults.faulty_store import FaultyMongo, FaultyRedis, Plan
from tests.faults.trial import Trial, on_trial
from tests.judge.verdict import Verdict
from tests.waiting import PATIENCE_S, wait_until

# A late request must come after its sender gave up: these are the senders' patience.
REDIS_TIMEOUT_S, MONGODB_TIMEOUT_S = 0.4, 1.0


class Ordeal:
    """A trial between two faulty stores."""

    def __init__(self, trial: Trial, redis: FaultyRedis, mongo: FaultyMongo) -> None:
        self.trial = trial
        self.redis = redis
        self.mongo = mongo
        self.cancelled: set[str] = set()

    async def run(
        self,
        seed: int,
        seconds: float,
        besides: Callable[[], Awaitable[None]] | None = None,
        until: Callable[[], object] = lambda: True,
    ) -> None:
        """Load, while both stores misbehave, and `besides` half-way; returns when they behave again and every submitter
        is done. A slow machine meets fewer requests in `seconds`: it goes on for as long as `until` asks for more.
        """
        self.redis.misbehave(Plan(seed, every=30, late_s=(3 * REDIS_TIMEOUT_S, 8 * REDIS_TIMEOUT_S)))
        self.mongo.misbehave(Plan(seed, every=30, late_s=(1.5 * MONGODB_TIMEOUT_S, 3 * MONGODB_TIMEOUT_S)))
        over = asyncio.Event()
        async with self.trial.watching(), asyncio.TaskGroup() as group:
            for number, work in enumerate([self._singles] * 3 + [self._batches, self._keyed, self._cancels]):
                group.create_task(work(random.Random(f"{seed}/{number}"), over.is_set))
            await asyncio.sleep(seconds / 2)
            if besides is not None:
                await besides()
            await asyncio.sleep(seconds / 2)
            await wait_until(until, message="enough to have gone wrong")
            over.set()
            self.redis.behave()
            self.mongo.behave()

    def _job(self, chance: random.Random) -> dict[str, Any]:
        kind = chance.random()
        if kind < 0.1:
            return {"type": "picky", "payload": {"how": "later"}}
        if kind < 0.15:
            return {"type": "picky", "payload": {"how": "reject"}}
        job: dict[str, Any] = {"type": "journaled", "payload": {"seconds": chance.choice((0, 0, 0.005, 0.15))}}
        if kind < 0.3:
            job["delay"] = chance.uniform(0.1, 2.0)
        return job | {"priority": chance.randint(0, 10)}

    async def _singles(self, chance: random.Random, over: Callable[[], bool]) -> None:
        while not over():
            job = self._job(chance)
            await self.trial.offer(job.pop("type"), job.pop("payload"), **job)
            await asyncio.sleep(chance.uniform(0.0, 0.03))

    async def _batches(self, chance: random.Random, over: Callable[[], bool]) -> None:
        while not over():
            await self.trial.offer_many([self._job(chance) for _ in range(chance.randint(1, 40))])
            await asyncio.sleep(chance.uniform(0.05, 0.2))

    async def _keyed(self, chance: random.Random, over: Callable[[], bool]) -> None:
        """Sent again under its key until there is an answer, and once more: one job."""
        while not over():
            job, headers = self._job(chance), {"Idempotency-Key": uuid.uuid4().hex}
            ids: list[str] = []
            while len(ids) < 2:
                reply = await self._sent("/api/v1/jobs", json=job, headers=headers)
                if reply is not None and reply.status_code in (200, 201):
                    ids.append(reply.json()["id"])
                else:
                    await asyncio.sleep(0.05)
            assert len(set(ids)) == 1, f"one key, two jobs: {ids}"
            self.trial.acks.write(ids[0], priority=job.get("priority", 5))

    async def _cancels(self, chance: random.Random, over: Callable[[], bool]) -> None:
        """Cancelled is what was answered so; the others have ended by themselves."""
        while not over():
            delay = chance.choice((None, 0.5, 2.0))
            options = {} if delay is None else {"delay": delay}
            job_id = await self.trial.offer("journaled", {"seconds": 0.2}, **options)
            while job_id is not None:
                reply = await self._sent(f"/api/v1/jobs/{job_id}/cancel")
                if reply is not None and reply.status_code == 200:
                    self.cancelled.add(job_id)
                    break
                if reply is not None and reply.status_code == 409:
                    break
                await asyncio.sleep(0.05)

    async def _sent(self, path: str, **request: Any) -> httpx.Response | None:
        try:
            return await self.trial.node.api.post(path, **request)
        except httpx.TransportError:
            return None

    async def verdict_of(self, replay: str, timeout: float = PATIENCE_S) -> Verdict:
        """The judge's verdict once all has ended; fails with the books, the faults and what replays them."""
        # What arrives late may be a job: all that is under way arrives first.
        await wait_until(lambda: not (self.redis.late or self.mongo.late), message="the late requests to arrive")
        ended = await self.trial.settled(timeout)
        verdict = self.trial.verdict()
        told = f"{replay}\n{verdict}\n{self.met}\n{self.trial.node.log[-6000:]}"
        assert ended and verdict.ok, told  # noqa: PT018 - one picture
        records = self.trial.truth.records()
        wrong = {job_id: records[job_id].status for job_id in self.cancelled if records[job_id].status != "cancelled"}
        assert not wrong, f"{replay}\nwere answered as cancelled: {wrong}"
        return verdict

    def met_all(self) -> bool:
        """Whether each store met each fault that costs an answer."""
        return all(store.count(fault) for store in (self.redis, self.mongo) for fault in ("lose", "cut", "late"))

    @property
    def met(self) -> str:
        """The faults that requests met, for people."""
        return f"redis {dict(self.redis.met)}\nmongo {dict(self.mongo.met)}"


@asynccontextmanager
async def on_ordeal(
    directory: Path, *, redis_url: str, mongodb_uri: str, database: str, cluster_id: str, **environment: str
) -> AsyncIterator[Ordeal]:
    """An ordeal for the length of the block; the node is not started, and the stores behave."""
    redis, mongo = FaultyRedis(redis_url), FaultyMongo(mongodb_uri)
    with ExitStack() as proxies:
        proxies.enter_context(redis.running())
        proxies.enter_context(mongo.running())
        settings = {
            "CLUSTER_ID": cluster_id,
            "REDIS_URL": redis.url,
            "MONGODB_URI": mongo.url,
            "REDIS_TIMEOUT": f"{round(REDIS_TIMEOUT_S * 1000)}ms",
            "MONGODB_TIMEOUT": f"{round(MONGODB_TIMEOUT_S * 1000)}ms",
            "WORKER_COUNT": "16",
            **environment,
        }
        async with on_trial(
            directory, redis_url=redis_url, mongodb_uri=mongodb_uri, database=database, **settings
        ) as trial:
            yield Ordeal(trial, redis, mongo)
