"""What a MongoDB can do to us under load, judged from outside: it stalls, goes away, changes its primary, runs full.

One member killed and restarted is in test_kill9.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from tests.conftest import RedisServer
from tests.faults.callers import CROWD, Callers, through
from tests.faults.replica_set import ReplicaSet
from tests.faults.trial import Trial, on_trial
from tests.nodes import free_port
from tests.small_disk import small_disk
from tests.waiting import PATIENCE, wait_until

# MongoDB's error codes, from its error_codes.yml.
OUT_OF_DISK_SPACE = 14031
WRITE_CONCERN_FAILED = 64
WRITES = ["insert", "update", "commitTransaction"]


@contextlib.asynccontextmanager
async def a_trial(directory: Path, redis_url: str, uri: str, cluster_id: str) -> AsyncIterator[Trial]:
    """A trial on this MongoDB."""
    async with on_trial(
        directory,
        redis_url=redis_url,
        mongodb_uri=uri,
        database="trial",
        CLUSTER_ID=cluster_id,
        WORKER_COUNT="16",
        # Callers wait for two time-outs at most, the write's and the reading back's: less than a stall of 5 s.
        MONGODB_TIMEOUT="1s",
    ) as made:
        yield made


@pytest.fixture
async def trial(
    tmp_path: Path, own_mongo: EmbeddedMongo, redis_server: RedisServer, cluster_id: str
) -> AsyncIterator[Trial]:
    """A trial with a MongoDB of its own."""
    async with a_trial(tmp_path, redis_server.url, own_mongo.uri, cluster_id) as made:
        yield made


@contextlib.contextmanager
def stopped(server: EmbeddedMongo | EmbeddedRedis) -> Iterator[None]:
    """SIGSTOP for the length of the block."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_a_mongodb_that_stalls_for_5_s_costs_time_alone(trial: Trial, own_mongo: EmbeddedMongo) -> None:
    async def stall(callers: Callers) -> None:
        with stopped(own_mongo):
            await callers.bounded(5.0)
            await callers.until_refused(1)

    callers = await through(trial, stall)
    assert callers.later() > 0, "nobody was told to come again"


@pytest.mark.parametrize("seconds", [8.0, pytest.param(20.0, marks=pytest.mark.soak)])
async def test_a_mongodb_that_is_away_is_waited_for_in_bounded_memory(
    trial: Trial, own_mongo: EmbeddedMongo, seconds: float
) -> None:
    async def away(callers: Callers) -> None:
        await own_mongo.kill()
        await callers.bounded(seconds)
        await callers.until_refused(1)
        await own_mongo.restart()

    callers = await through(trial, away, callers=Callers(trial, **CROWD))
    assert callers.later() > 0, "nobody was told to come again"


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.soak)])
async def test_a_primary_killed_during_inserts_and_completions_loses_and_doubles_nothing(
    tmp_path: Path, redis_server: RedisServer, cluster_id: str, kills: int
) -> None:
    async def change_primaries(callers: Callers) -> None:
        for _ in range(kills):
            primary = await replicas.primary()
            await primary.kill()
            # Two of three are a majority: all goes on without the third.
            await callers.until_accepted(100)
            await primary.restart()
            await wait_until(replicas.all_follow, message="the killed member to have caught up")

    async with (
        ReplicaSet(tmp_path / "replicas") as replicas,
        a_trial(tmp_path, redis_server.url, replicas.uri, cluster_id) as trial,
    ):
        await through(trial, change_primaries, callers=Callers(trial, keyed=6))


class WithFailpoints(EmbeddedMongo):
    """A mongod that can be told to fail."""

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), "--setParameter", "enableTestCommands=1"]


@pytest.mark.parametrize(
    "failure",
    [
        {"errorCode": OUT_OF_DISK_SPACE},
        {"closeConnection": True},
        {"writeConcernError": {"code": WRITE_CONCERN_FAILED, "errmsg": "waiting for replication timed out"}},
    ],
    ids=["no-space", "connection-lost", "written-but-not-known-to-be"],
)
async def test_while_writes_fail_callers_are_refused_and_no_key_stands_for_two_jobs(
    tmp_path: Path, redis_server: RedisServer, cluster_id: str, failure: dict[str, Any]
) -> None:
    async def fail(callers: Callers) -> None:
        with MongoClient[dict[str, Any]](server.uri) as client:
            client.admin.command(
                "configureFailPoint", "failCommand", mode="alwaysOn", data={"failCommands": WRITES} | failure
            )
            await callers.until_refused(50)
            client.admin.command("configureFailPoint", "failCommand", mode="off")

    server = WithFailpoints(tmp_path / "mongo", port=free_port(), start_timeout=PATIENCE)
    try:
        await server.start()
        async with a_trial(tmp_path, redis_server.url, server.uri, cluster_id) as trial:
            await through(trial, fail)
    finally:
        await server.kill()


async def test_a_mongodb_that_died_of_a_full_disk_goes_on_when_there_is_space(
    tmp_path: Path, redis_server: RedisServer, cluster_id: str
) -> None:
    async def fill(callers: Callers) -> None:
        disk.fill()
        # It has some journal left to write to; then it cannot keep a promise any more, and aborts.
        await wait_until(lambda: not server.running, message="mongod to give up")
        await callers.until_refused(20)
        disk.free()
        await server.restart()

    with small_disk(tmp_path / "small-disk", 160) as disk:
        server = EmbeddedMongo(disk.path / "mongo", port=free_port(), start_timeout=PATIENCE)
        try:
            await server.start()
            async with a_trial(tmp_path, redis_server.url, server.uri, cluster_id) as trial:
                await through(trial, fill, callers=Callers(trial, batches=3))
        finally:
            await server.kill()


@pytest.mark.parametrize("first", ["redis", "mongodb"])
@pytest.mark.parametrize("seconds", [2.0, pytest.param(20.0, marks=pytest.mark.soak)])
async def test_both_stores_away_and_back_in_either_order(
    tmp_path: Path, own_redis: EmbeddedRedis, own_mongo: EmbeddedMongo, cluster_id: str, first: str, seconds: float
) -> None:
    stores = [own_redis, own_mongo] if first == "redis" else [own_mongo, own_redis]

    async def away(callers: Callers) -> None:
        await asyncio.gather(own_redis.kill(), own_mongo.kill())
        await callers.bounded(seconds)
        await callers.until_refused()
        await stores[0].restart()
        # One of two is not enough, and the node must not think so.
        accepted = callers.accepted()
        await callers.bounded(1.5)
        assert first == "mongodb" or callers.accepted() == accepted
        await stores[1].restart()

    async with a_trial(tmp_path, own_redis.url, own_mongo.uri, cluster_id) as trial:
        await through(trial, away, callers=Callers(trial, **CROWD))
