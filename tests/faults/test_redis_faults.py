"""What a Redis can do to us under load, judged from outside: it goes back in time, forgets, fills up, stalls, leaves.

Redis killed and restarted, and one FLUSHALL, are in test_kill9; a wrong eviction policy in tests/engine/test_refusals.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hegemon.cluster.embedded import EmbeddedRedis
from tests.conftest import MongoServer
from tests.faults.callers import CROWD, Callers, through
from tests.faults.past import append_only_file, go_back
from tests.faults.trial import Trial, on_trial
from tests.nodes import free_port
from tests.small_disk import small_disk
from tests.waiting import PATIENCE, wait_until

WAITING_JOBS = 6000


@pytest.fixture
async def trial(
    tmp_path: Path, own_redis: EmbeddedRedis, mongo_server: MongoServer, cluster_id: str, database: str
) -> AsyncIterator[Trial]:
    """A trial with a Redis of its own."""
    async with on_trial(
        tmp_path,
        redis_url=own_redis.url,
        mongodb_uri=mongo_server.uri,
        database=database,
        CLUSTER_ID=cluster_id,
        WORKER_COUNT="16",
    ) as made:
        yield made


def marker(trial: Trial, field: str) -> str:
    """A field of the index's marker; "" while there is none."""
    with trial.redis() as client:
        value = client.hget(f"hegemon:{{{trial.cluster_id}}}:marker", field)
    return value.decode() if isinstance(value, bytes) else ""


async def test_a_redis_that_comes_back_without_its_last_two_seconds_is_noticed_and_rebuilt(
    trial: Trial, own_redis: EmbeddedRedis
) -> None:
    async def go_back_in_time(callers: Callers) -> None:
        await go_back(own_redis, 2.0)

    await through(trial, go_back_in_time)
    assert trial.generation > 1, "the index of the past was trusted"


async def test_a_redis_cut_in_the_middle_of_a_command_is_rebuilt_too(trial: Trial, own_redis: EmbeddedRedis) -> None:
    async def tear(callers: Callers) -> None:
        await own_redis.kill()
        path = append_only_file(own_redis)
        os.truncate(path, path.stat().st_size - 20_011)
        await own_redis.restart()

    await through(trial, tear)
    assert trial.generation > 1, "the index of the past was trusted"


async def test_flushall_in_each_phase_of_a_rebuild_begins_it_again(trial: Trial) -> None:
    trial.node.environment["WORKER_COUNT"] = "4"
    phases = ("declaring", "indexing")

    async def flush_until_hit(phase: str) -> None:
        """Until a FLUSHALL has met this phase: it may be over before we have seen it."""

        def hit() -> bool:
            with trial.redis() as client:
                client.flushall()
                key = f"hegemon:{{{trial.cluster_id}}}:marker"
                until = time.monotonic() + 10.0
                while (state := client.hget(key, "state")) != b"ready" and time.monotonic() < until:
                    if state == phase.encode():
                        client.flushall()
                        return True
            return False

        await wait_until(lambda: asyncio.to_thread(hit), message=f"a FLUSHALL to meet the phase {phase}")

    async def begun_again(before: int) -> None:
        await wait_until(lambda: trial.node.log.count("rebuild_again") > before, message="the rebuild to begin again")

    async def flush(callers: Callers) -> None:
        for phase in phases:
            before = trial.node.log.count("rebuild_again")
            await flush_until_hit(phase)
            await begun_again(before)
        await wait_until(lambda: marker(trial, "state") == "ready", message="the index to be whole")

    await trial.node.start()
    # Thousands that wait make the rebuild long enough to be met.
    for _ in range(WAITING_JOBS // 500):
        assert await trial.offer_many([{"type": "journaled", "priority": 1, "delay": 6.0}] * 500)
    callers = Callers(trial)
    async with trial.watching(), callers.calling():
        await callers.until_accepted(100)
        await flush(callers)
        await callers.until_accepted(100)
    verdict = await trial.clear_verdict()
    assert verdict.completed == verdict.accepted >= WAITING_JOBS
    callers.answered_well()


async def test_a_full_redis_refuses_callers_loses_nothing_and_goes_on_when_there_is_room(trial: Trial) -> None:
    # Few slots and slow jobs, so that what comes in stays and fills it.
    trial.node.environment |= {"WORKER_COUNT": "6", "SUBMIT_BUFFER": "200", "MAX_BATCH_SIZE": "100"}

    before: list[int] = []

    async def fill(callers: Callers) -> None:
        before.append(trial.generation)
        with trial.redis() as client:
            # No room at all: whether callers come fast enough to fill some is the machine's mood.
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]) // 2)
            # Not "overloaded": the store is named that has no room.
            await wait_until(lambda: callers.answers[503, "store_unavailable"] > 20, message="callers to be told why")
            await callers.bounded(2.0)
            client.config_set("maxmemory", 0)

    await through(trial, fill, callers=Callers(trial, singles=8, seconds=0.03, padding=8000))
    assert before == [trial.generation], "nothing was lost, so there is nothing to rebuild"
    assert "Traceback" not in trial.node.log, "a full store is foreseen"


async def test_a_redis_on_a_full_disk_refuses_callers_loses_nothing_and_goes_on_when_there_is_room(
    tmp_path: Path, mongo_server: MongoServer, cluster_id: str, database: str
) -> None:
    async def told(trial: Trial) -> bool:
        parts = (await trial.node.api.get("/readyz")).json()["parts"]
        return bool(parts["redis"] == "takes no writes")

    async def fill(callers: Callers) -> None:
        disk.fill()
        await callers.until_refused(20)
        await wait_until(lambda: told(callers.trial), message="the node to tell that it is not the network")
        before.append(callers.trial.generation)
        disk.free()

    before: list[int] = []
    with small_disk(tmp_path / "disk", 64) as disk:
        server = EmbeddedRedis(disk.path / "redis", port=free_port(), start_timeout=PATIENCE)
        try:
            await server.start()
            async with on_trial(
                tmp_path,
                redis_url=server.url,
                mongodb_uri=mongo_server.uri,
                database=database,
                CLUSTER_ID=cluster_id,
                WORKER_COUNT="16",
            ) as trial:
                await through(trial, fill)
                assert before == [trial.generation], "nothing was lost, so there is nothing to rebuild"
                assert "No space left on device" in trial.node.log, "the log says what is missing"
                assert "Traceback" not in trial.node.log, "a full disk is foreseen"
        finally:
            await server.kill()


async def test_a_redis_that_stalls_for_5_s_costs_time_alone(trial: Trial, own_redis: EmbeddedRedis) -> None:
    async def stall(callers: Callers) -> None:
        assert own_redis.pid is not None
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:
            await callers.bounded(5.0)
            await callers.until_refused(1)
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)

    await through(trial, stall)


@pytest.mark.parametrize("seconds", [8.0, pytest.param(20.0, marks=pytest.mark.soak)])
async def test_a_redis_that_is_away_is_waited_for_in_bounded_memory(
    trial: Trial, own_redis: EmbeddedRedis, seconds: float
) -> None:
    async def away(callers: Callers) -> None:
        await own_redis.kill()
        await callers.bounded(seconds)
        await callers.until_refused(1)
        await own_redis.restart()

    await through(trial, away, callers=Callers(trial, **CROWD))
    assert trial.generation > 1, "a restarted Redis may have lost its last second"
