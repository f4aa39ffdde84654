"""kill -9 under load, again and again, and the loss of either store: nothing is lost or undone, judged from outside."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from tests.conftest import MongoServer, RedisServer
from tests.faults.trial import Trial, on_trial
from tests.waiting import wait_until

JOBS = 20_000
BATCH = 200
SEED = 20_261_122
Fault = Callable[[], Awaitable[None]]


async def submit_until(trial: Trial, total: int, *, singles: int = 4, seconds: float = 0.0) -> None:
    """Batches from one submitter and single jobs from others, until so many have been acknowledged."""
    job = {"type": "journaled", "payload": {"seconds": seconds}}

    async def batches() -> None:
        while trial.acks.count < total:
            if not await trial.offer_many([job] * min(BATCH, total - trial.acks.count)):
                await asyncio.sleep(0.02)

    async def single() -> None:
        while trial.acks.count < total:
            if await trial.offer("journaled", {"seconds": seconds}) is None:
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        group.create_task(batches())
        for _ in range(singles):
            group.create_task(single())


async def kill_control(trial: Trial) -> None:
    """The control process, and with it its workers; then the next life."""
    await trial.node.kill()
    await trial.node.start()


async def kill_a_worker(trial: Trial) -> None:
    """One worker process, by its id."""

    async def killed() -> bool:
        try:
            return bool(await trial.node.workers()) and await trial.kill_worker() > 0
        except (ProcessLookupError, IndexError):
            return False  # It died just now, and its incarnation is not closed yet, or it is by now.

    await wait_until(killed, message="a worker to kill")


async def test_20_000_jobs_outlive_kills_of_control_and_worker_processes(trial: Trial) -> None:
    chance = random.Random(SEED)
    trial.environment |= {"WORKER_PROCESSES": "2", "WORKER_COUNT": "16"}
    trial.node.environment |= trial.environment
    while_submitting = sorted(chance.sample(range(500, JOBS - 500), 6))
    while_draining = sorted(chance.sample(range(JOBS // 4, JOBS - 200), 4))
    faults = [kill_control, kill_a_worker] * 5
    chance.shuffle(faults)
    await trial.node.start()
    async with trial.watching(), asyncio.TaskGroup() as group:
        submitter = group.create_task(submit_until(trial, JOBS))
        for count in while_submitting:
            await wait_until(lambda: trial.acks.count >= count, message=f"{count} acknowledgements")  # noqa: B023 - at once
            await faults.pop()(trial)
        await submitter
        for count in while_draining:
            await wait_until(lambda: len(trial.watch.observed) >= count, message=f"{count} completions")  # noqa: B023
            await faults.pop()(trial)
    verdict = await trial.clear_verdict()
    assert verdict.accepted >= JOBS
    assert verdict.completed == verdict.accepted
    # Repetition is what was running or on its way to be recorded when a process died: a small part.
    assert verdict.repeated < JOBS // 4, verdict


@pytest.fixture
async def trial_with_own_redis(
    tmp_path: Path, own_redis: EmbeddedRedis, mongo_server: MongoServer, cluster_id: str, database: str
) -> AsyncIterator[Trial]:
    async with on_trial(
        tmp_path, redis_url=own_redis.url, mongodb_uri=mongo_server.uri, database=database, CLUSTER_ID=cluster_id
    ) as made:
        yield made


@pytest.fixture
async def trial_with_own_mongo(
    tmp_path: Path, own_mongo: EmbeddedMongo, redis_server: RedisServer, cluster_id: str
) -> AsyncIterator[Trial]:
    async with on_trial(
        tmp_path, redis_url=redis_server.url, mongodb_uri=own_mongo.uri, database="trial", CLUSTER_ID=cluster_id
    ) as made:
        yield made


async def under_load(trial: Trial, fault: Fault, *, total: int = 3000) -> None:
    """The fault comes in the middle of submissions, while jobs run."""
    await trial.node.start()
    async with trial.watching(), asyncio.TaskGroup() as group:
        group.create_task(submit_until(trial, total, singles=2, seconds=0.002))
        await wait_until(lambda: trial.acks.count >= total // 3, message="a third of the load")
        await trial.started(50)
        await fault()


async def test_flushall_under_load_is_rebuilt_and_nothing_is_lost(trial_with_own_redis: Trial) -> None:
    trial = trial_with_own_redis

    async def flush() -> None:
        with trial.redis() as client:
            client.flushall()

    await under_load(trial, flush)
    verdict = await trial.clear_verdict()
    assert verdict.completed == verdict.accepted >= 3000
    assert trial.generation > 1, "the index was not rebuilt"


async def test_redis_killed_and_restarted_under_load_loses_nothing(
    trial_with_own_redis: Trial, own_redis: EmbeddedRedis
) -> None:
    async def restart() -> None:
        await own_redis.kill()
        await own_redis.start()

    await under_load(trial_with_own_redis, restart)
    verdict = await trial_with_own_redis.clear_verdict()
    assert verdict.completed == verdict.accepted >= 3000
    assert trial_with_own_redis.generation > 1, "the index was not rebuilt"


async def test_mongodb_killed_and_restarted_under_load_loses_nothing(
    trial_with_own_mongo: Trial, own_mongo: EmbeddedMongo
) -> None:
    async def restart() -> None:
        await own_mongo.kill()
        await own_mongo.start()

    await under_load(trial_with_own_mongo, restart)
    verdict = await trial_with_own_mongo.clear_verdict()
    assert verdict.completed == verdict.accepted >= 3000


async def test_an_orderly_stop_under_load_hands_back_what_it_cannot_finish(trial: Trial) -> None:
    # A machine that stands still for a second is not to cost a lease: that repeats.
    trial.node.environment["WORKER_LEASE"] = "90s"
    await trial.node.start()
    async with trial.watching(), asyncio.TaskGroup() as group:
        group.create_task(submit_until(trial, 1500, singles=2, seconds=0.01))
        await wait_until(lambda: trial.acks.count >= 700, message="half of the load")
        assert await trial.node.stop() == 0
        await trial.node.start()
    verdict = await trial.clear_verdict()
    assert verdict.repeated == 0, f"an orderly stop repeats nothing that fits its time\n{verdict}"


# A second and a half is longer than the lease: workers may start nothing more by then. Up to 30 s are in tests/soak.
@pytest.mark.parametrize(("who", "seconds"), [("control", 1.5), ("worker", 1.5), ("all", 0.3)])
async def test_stopped_processes_that_go_on_do_no_harm(trial: Trial, who: str, seconds: float) -> None:
    await trial.node.start()
    async with trial.watching(), asyncio.TaskGroup() as group:
        group.create_task(submit_until(trial, 1000, singles=2, seconds=0.01))
        await wait_until(lambda: trial.acks.count >= 300, message="a part of the load")
        await trial.started(20)
        workers = [worker["pid"] for worker in await trial.node.workers()]
        pids = {"control": [trial.node.pid], "worker": workers, "all": [trial.node.pid, *workers]}[who]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    verdict = await trial.clear_verdict()
    assert verdict.completed == verdict.accepted
