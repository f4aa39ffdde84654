"""When a node must not start, it says why in a sentence and ends with exit code 2. When it may later, it waits, and
then ends with 5, which whoever starts nodes takes for "again".
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from hegemon.cluster.embedded import EmbeddedRedis
from tests.nodes import free_port, node
from tests.waiting import wait_until

Environment = dict[str, str]
LATER = 5


async def refusal(environment: Environment, code: int = 2) -> str:
    """What a node that does not start writes."""
    async with node(environment, start=False) as refused:
        refused.spawn()
        assert await refused.ended() == code, refused.log
        assert "Traceback" not in refused.log
        return refused.log


@pytest.mark.parametrize(
    ("handlers", "words"),
    [
        ("no.such.module", "cannot import 'no.such.module'"),
        ("tests.engine.broken_handlers", "importing 'tests.engine.broken_handlers' failed: ValueError: not today"),
        ("tests.engine.clashing_handlers", "'echo' is already handled"),
    ],
)
async def test_handlers_that_cannot_be_loaded(environment: Environment, handlers: str, words: str) -> None:
    log = await refusal(environment | {"HANDLERS": f"examples.jobs,{handlers}"})
    assert "HANDLERS" in log
    assert words in log


async def test_a_database_that_belongs_to_another_cluster(environment: Environment) -> None:
    async with node(environment) as first:
        assert (await first.wait(await first.submit("noop")))["status"] == "completed"
        log = await refusal(environment | {"CLUSTER_ID": "other"})
        assert "belongs to a cluster with CLUSTER_ID" in log
        assert "MONGODB_DATABASE" in log
        assert (await first.wait(await first.submit("noop")))["status"] == "completed"


async def test_a_redis_that_would_evict(environment: Environment, own_redis: EmbeddedRedis) -> None:
    async with redis.asyncio.Redis.from_url(own_redis.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
    log = await refusal(environment | {"REDIS_URL": own_redis.url})
    assert "maxmemory-policy=allkeys-lru" in log
    assert "noeviction" in log


async def test_a_wrong_setting_is_named_with_its_value(environment: Environment) -> None:
    log = await refusal(environment | {"WORKER_COUNT": "many", "RETRY_BASE_DELAY": "soon"})
    assert "WORKER_COUNT" in log
    assert "many" in log
    assert "RETRY_BASE_DELAY" in log


async def test_a_node_waits_for_a_store_that_comes_later(environment: Environment, own_redis: EmbeddedRedis) -> None:
    url = own_redis.url
    await own_redis.stop()
    async with node(environment | {"REDIS_URL": url}, start=False) as waiting:
        waiting.spawn()
        await wait_until(lambda: "waiting_for_store" in waiting.log)
        assert waiting.process is not None
        assert waiting.process.poll() is None
        await own_redis.restart()
        await waiting.until_ready()
        assert (await waiting.wait(await waiting.submit("noop")))["status"] == "completed"


async def test_a_port_that_is_taken(environment: Environment) -> None:
    async with node(environment) as first:
        log = await refusal(environment | {"SERVER_PORT": str(first.port), "NODE_ID": "n2"}, LATER)
        assert str(first.port) in log


async def test_a_store_that_is_away_for_longer_than_a_start_waits(environment: Environment) -> None:
    impatient = "from hegemon.cluster import node_stores; node_stores.STORE_PATIENCE_S = 0.1"
    away = node(environment | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}, start=False)
    async with away as described:
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", f"{impatient}; from hegemon.cli.node import node; node()"],
            env=described.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    log = ended.stderr
    assert ended.returncode == LATER, log
    assert "Redis does not answer" in log.splitlines()[-1]


@pytest.mark.parametrize("how", ["a file in its place", "not ours to write"])
async def test_a_data_dir_that_can_never_keep_a_vote(environment: Environment, tmp_path: Path, how: str) -> None:
    place = tmp_path / "data"
    place.touch()
    if how == "not ours to write":
        # Where root may write all the same: no file system takes a directory here.
        place = Path("/proc/hegemon")
    raft = {
        "ELECTION_ALGORITHM": "raft",
        "CLUSTER_SECRET": "a secret of thirty-two bytes, or more",
        "CLUSTER_PORT": str(port := free_port()),
        "CLUSTER_PEERS": f"n1@127.0.0.1:{port}",
        "DATA_DIR": str(place),
    }
    log = await refusal(environment | raft)
    assert f"DATA_DIR cannot be used: {place}" in log.splitlines()[-1]
