"""I7 and I8: with each safeguard the judge is content, without it it is not. The others are in test_safeguards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hegemon.cluster.embedded import EmbeddedMongo
from tests.conftest import RedisServer
from tests.faults.trial import Trial, on_trial
from tests.nodes import ROOT
from tests.waiting import wait_until

STARTUP = Path(__file__).parent / "startup_more"
MAX_CRASHES = 2


def without(sabotage: str) -> dict[str, str]:
    """Environment for a start with this safeguard switched off; none for ""."""
    return {"PYTHONPATH": f"{STARTUP}:{ROOT}", "SABOTAGE": sabotage} if sabotage else {}


@pytest.fixture
def poisoned(trial: Trial) -> Trial:
    """A trial whose workers know the handlers that do harm; not started."""
    settings = {"HANDLERS": "tests.handlers,tests.faults.poison_handlers", "MAX_CRASHES": str(MAX_CRASHES)}
    trial.node.environment |= settings
    return trial


@pytest.mark.parametrize("sabotage", ["", "crashes-uncounted"])
async def test_i7_a_job_that_kills_its_worker_does_so_no_more_than_max_crashes_and_once(
    poisoned: Trial, sabotage: str
) -> None:
    await poisoned.start(without(sabotage))
    poison = await poisoned.offer("crash", {"how": "exit"})
    assert poison is not None
    bound = 1 + MAX_CRASHES

    async def decided() -> bool:
        return len(poisoned.starts(poison)) > bound or not await asyncio.to_thread(poisoned.truth.any_live)

    await wait_until(decided, message=f"the end of the poison, or more than {bound} starts of it")
    if sabotage:
        assert len(poisoned.starts(poison)) > bound
        assert poisoned.verdict().kinds == {"stuck"}
    else:
        verdict = await poisoned.clear_verdict()
        assert (verdict.failed, len(poisoned.starts(poison))) == (1, bound)


@pytest.mark.parametrize("sabotage", ["", "guilt-by-association"])
async def test_i7_neighbours_of_a_job_that_kills_its_worker_do_not_pay(poisoned: Trial, sabotage: str) -> None:
    await poisoned.start(without(sabotage))
    ids = await poisoned.offer_many([{"type": "journaled", "payload": {"gate": poisoned.gate}}] * 2)
    await poisoned.started(2)
    assert await poisoned.offer("dies-later")
    # They outlast the first death, which makes them suspects; without the safeguard as many as there will be.
    await wait_until(lambda: "worker_died" in poisoned.node.log, message="a death")
    if sabotage:
        documents = poisoned.truth.document
        await wait_until(lambda: {documents(job_id)["status"] for job_id in ids} == {"failed"}, message="the verdict")
    poisoned.open_gate()
    verdict = await poisoned.clear_verdict()
    records = poisoned.truth.records()
    ends = Counter(records[job_id].status for job_id in ids)
    assert ends == ({"failed": 2} if sabotage else {"completed": 2}), f"{verdict}\n{poisoned.node.log[-3000:]}"


# -- I8 ----------------------------------------------------------------------------------------------------------------

BUFFER, BATCH = 60, 20
JOB = {"type": "journaled"}


@pytest.fixture
async def stalling(
    tmp_path: Path, redis_server: RedisServer, own_mongo: EmbeddedMongo, cluster_id: str
) -> AsyncIterator[Trial]:
    """A trial on a MongoDB of its own, with a small buffer; calls are not given up while a test stalls it."""
    async with on_trial(
        tmp_path,
        redis_url=redis_server.url,
        mongodb_uri=own_mongo.uri,
        database="trial",
        CLUSTER_ID=cluster_id,
        SUBMIT_BUFFER=str(BUFFER),
        MAX_BATCH_SIZE=str(BATCH),
        MONGODB_TIMEOUT="60s",
    ) as made:
        yield made


@asynccontextmanager
async def stalled(server: EmbeddedMongo) -> AsyncIterator[None]:
    """SIGSTOP for the length of the block."""
    assert server.pid is not None
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Callers:
    """Many at once, each with one request of `size` jobs. What a caller was not refused lies in the node's memory."""

    def __init__(self, trial: Trial, size: int) -> None:
        self._trial = trial
        self._size = size
        limits = httpx.Limits(max_connections=None)
        self._api = httpx.AsyncClient(base_url=trial.node.url, timeout=90.0, limits=limits)
        self._tasks: list[asyncio.Task[httpx.Response]] = []

    def call(self, count: int) -> None:
        """So many more."""
        path, body = ("/api/v1/jobs", JOB) if self._size == 1 else ("/api/v1/jobs/batch", {"jobs": [JOB] * self._size})
        self._tasks += [asyncio.create_task(self._api.post(path, json=body)) for _ in range(count)]

    @property
    def waiting(self) -> int:
        """Jobs whose callers have no answer."""
        return self._size * sum(1 for task in self._tasks if not task.done())

    def refusals(self) -> list[httpx.Response]:
        """Answers other than 201."""
        return [task.result() for task in self._tasks if task.done() and task.result().status_code != 201]

    async def answered(self) -> Sequence[httpx.Response]:
        """All answers; what was accepted goes into the journal."""
        replies = await asyncio.gather(*self._tasks)
        for reply in replies:
            if reply.status_code == 201:
                told: dict[str, Any] = reply.json()
                self._trial.acks.write(*(told["ids"] if "ids" in told else [told["id"]]))
        await self._api.aclose()
        return replies


@pytest.mark.parametrize(("sabotage", "size"), [("", 1), ("", BATCH), ("buffer-unbounded", BATCH)])
async def test_i8_while_mongodb_stalls_no_more_than_the_buffer_is_taken_in(
    stalling: Trial, own_mongo: EmbeddedMongo, sabotage: str, size: int
) -> None:
    count = 240 // size * (1 if size == 1 else 2)
    await stalling.start(without(sabotage))
    callers = Callers(stalling, size)
    async with stalled(own_mongo):
        callers.call(count)
        if sabotage:
            # Long enough for every caller to have been refused: with the safeguard it takes a fraction of that.
            with pytest.raises(pytest.fail.Exception):
                await wait_until(lambda: callers.waiting <= BUFFER, 1.5)
            assert callers.waiting == count * size
        else:
            await wait_until(lambda: callers.waiting <= BUFFER, message="all beyond the buffer to be refused")
            assert callers.waiting > 0, "nothing waits: the test shows nothing"
            for reply in callers.refusals():
                assert reply.status_code == 503, reply.text
                assert reply.json()["code"] == "overloaded"
                assert int(reply.headers["retry-after"]) >= 1
    replies = await callers.answered()
    taken = sum(1 for reply in replies if reply.status_code == 201) * size
    assert taken == count * size if sabotage else taken <= BUFFER
    verdict = await stalling.clear_verdict()
    assert verdict.completed == verdict.accepted == taken
