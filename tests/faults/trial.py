"""One cluster on trial: a node as a real process on real stores, a submitter that keeps a journal, the judge's eyes.

What dies here dies by SIGKILL. The submitter takes a lost connection or a 5xx as "not acknowledged"; what it was told
is accepted goes into its journal at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import redis
from pymongo.errors import PyMongoError

from tests.judge.records import AckJournal, Evidence, Mark, Truth, Watch, read_acks, read_marks
from tests.judge.verdict import Verdict, judge
from tests.nodes import Gate, NodeProcess
from tests.waiting import wait_until

# Short leases, so that what waits for one to run out does not make a test long.
QUICK = {
    "HANDLERS": "tests.handlers,tests.faults.disarm",
    "WORKER_LEASE": "1s",
    "WORKER_BEAT": "200ms",
    "WORKER_COUNT": "4",
    "RETRY_BASE_DELAY": "20ms",
    "MONGODB_TIMEOUT": "3s",
    "REDIS_TIMEOUT": "1s",
}
# How long a job may take to come to its end after everything runs again, on a machine that has other things to do.
PATIENCE_S = 120.0


class Trial:
    """A node, its journals and its judge. Build it with `on_trial`."""

    def __init__(
        self, directory: Path, *, redis_url: str, mongodb_uri: str, database: str, environment: Mapping[str, str]
    ) -> None:
        self.journal = directory / "journal"
        self._acks_path = directory / "acks"
        # Handlers that are told of it wait until it is there: a test holds a job as long as it must.
        self._gate = Gate(str(directory / "gate"))
        self.acks = AckJournal(self._acks_path)
        self.redis_url = redis_url
        self.cluster_id = environment["CLUSTER_ID"]
        self.environment = {
            **QUICK,
            "REDIS_URL": redis_url,
            "MONGODB_URI": mongodb_uri,
            "MONGODB_DATABASE": database,
            "JOURNAL": str(self.journal),
            "DISARMED": str(directory / "disarmed"),
            **environment,
        }
        self.node = NodeProcess(self.environment)
        self.truth = Truth(mongodb_uri, database)
        self.watch = Watch(self.truth)

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the node, with more environment for this start alone, and wait until it is ready."""
        self.node.spawn(**(environment or {}))
        await self.node.until_ready()

    # -- the submitter -------------------------------------------------------------------------------------------------

    async def offer(self, type_: str, payload: Mapping[str, Any] | None = None, **options: Any) -> str | None:
        """Submit one job; its id, None when no acknowledgement came."""
        body = {"type": type_, "payload": payload or {}, **options}
        reply = await self.post("/api/v1/jobs", body)
        if reply is None:
            return None
        job_id: str = reply["id"]
        self.acks.write(job_id, queue=options.get("queue", "default"), priority=options.get("priority", 5))
        return job_id

    async def offer_many(self, jobs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Submit a batch; its ids, none when no acknowledgement came."""
        reply = await self.post("/api/v1/jobs/batch", {"jobs": jobs})
        if reply is None:
            return []
        for job, job_id in zip(jobs, reply["ids"], strict=True):
            self.acks.write(job_id, queue=job.get("queue", "default"), priority=job.get("priority", 5))
        ids: list[str] = reply["ids"]
        return ids

    async def post(self, path: str, body: Any = None) -> dict[str, Any] | None:
        """The answer to a POST; None when there was none, or one that says "later"."""
        try:
            reply = await self.node.api.post(path, json=body)
        except httpx.TransportError:
            return None
        if reply.status_code >= 500 or reply.status_code == 429:
            return None
        assert reply.status_code in (200, 201), reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    # -- faults --------------------------------------------------------------------------------------------------------

    async def kill_worker(self, *, solo: bool = False) -> int:
        """SIGKILL to a worker process; its pid."""
        pid: int = (await self.node.workers(solo=solo))[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def deaths(self) -> int:
        """Worker processes that the supervisor saw end by SIGKILL."""
        return sum(1 for line in self.node.log.splitlines() if "worker_died" in line and "ended by SIGKILL" in line)

    @property
    def gate(self) -> str:
        """The gate's path, for payloads."""
        return self._gate.path

    @property
    def generation(self) -> int:
        """The newest generation of the index that the node has told of: each try at a rebuild takes the next."""
        return max((int(told) for told in re.findall(r'"generation": (\d+)', self.node.log)), default=0)

    def open_gate(self) -> None:
        """Let those go that wait at the gate, now and from now on."""
        self._gate.open()

    def redis(self) -> redis.Redis:
        """A client for the stores' other side; close it."""
        return redis.Redis.from_url(self.redis_url)

    def beats(self, worker: str) -> int:
        """How often its node has beaten for this worker; it lives."""
        with self.redis() as client:
            count = client.hget(f"hegemon:{{{self.cluster_id}}}:beats", worker)
        assert isinstance(count, bytes)
        return int(count)

    def wipe_index(self) -> None:
        """Take this cluster's keys out of a Redis that others use too: what FLUSHALL is to a Redis of one's own."""
        with self.redis() as client:
            for key in client.scan_iter(match=f"hegemon:{{{self.cluster_id}}}:*", count=1000):
                client.unlink(key)

    # -- the judge -----------------------------------------------------------------------------------------------------

    def marks(self) -> list[Mark]:
        """What the handlers wrote so far."""
        return read_marks(self.journal)

    def starts(self, job_id: str) -> list[Mark]:
        """Starts of one job, in order."""
        return [mark for mark in self.marks() if mark.event == "start" and mark.id == job_id]

    async def started(self, count: int = 1, timeout: float = PATIENCE_S) -> None:
        """Wait until the journal has so many starts."""

        def enough() -> bool:
            return sum(1 for mark in self.marks() if mark.event == "start") >= count

        await wait_until(enough, timeout, f"{count} starts")

    async def settled(self, timeout: float = PATIENCE_S) -> bool:
        """Look on until nothing lives any more; False when the time is up."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.watch.look()
            if not await asyncio.to_thread(self.truth.any_live):
                # What would start after its completion gets the time of some scheduling rounds to do so.
                await self._rounds()
                return True
            await asyncio.sleep(0.05)
        return False

    async def _rounds(self) -> None:
        """Some rounds of the leader: dispatch turns at least every 0.25 s, upkeep too."""
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            self.watch.look()
            await asyncio.sleep(0.1)

    def verdict(self, *, settled: bool = True, ordered: bool = False) -> Verdict:
        """What the judge says now."""
        evidence = Evidence(
            acks=read_acks(self._acks_path),
            marks=self.marks(),
            records=self.truth.records(),
            removed=self.truth.removed(),
            observed=self.watch.observed,
        )
        return judge(evidence, settled=settled, ordered=ordered)

    async def clear_verdict(self, timeout: float = PATIENCE_S) -> Verdict:
        """Everything ended, and the judge finds nothing; fails with the books and the node's last words."""
        ended = await self.settled(timeout)
        verdict = self.verdict()
        assert ended and verdict.ok, f"{verdict}\n{self.node.log[-4000:]}"  # noqa: PT018 - one picture of both
        return verdict

    @contextlib.asynccontextmanager
    async def watching(self, every_s: float = 0.25) -> AsyncIterator[None]:
        """Keep looking for completions, from a thread, while the block runs."""
        over = asyncio.Event()

        async def look() -> None:
            while not over.is_set():
                await asyncio.to_thread(self.watch.look)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        await over.wait()

        task = asyncio.create_task(look())
        try:
            yield
        finally:
            over.set()
            await task

    async def close(self) -> None:
        """Kill what runs, close what is open."""
        self.open_gate()
        if self.node.process is not None:
            # A control process that was stopped by a signal still dies by SIGKILL.
            await self.node.close()
        else:
            await self.node.api.aclose()
        with contextlib.suppress(PyMongoError):
            await asyncio.to_thread(self.truth.end_orphans)
        self.truth.close()
        self.acks.close()


@asynccontextmanager
async def on_trial(
    directory: Path, *, redis_url: str, mongodb_uri: str, database: str, **environment: str
) -> AsyncIterator[Trial]:
    """A trial for the length of the block; the node is not started. `environment` wins over `QUICK`."""
    trial = Trial(directory, redis_url=redis_url, mongodb_uri=mongodb_uri, database=database, environment=environment)
    try:
        yield trial
    finally:
        await trial.close()
