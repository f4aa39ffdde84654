"""When a node must not start, it says why in a sentence and ends with exit code 2; when it may later, it waits."""

from __future__ import annotations

import pytest
import redis.asyncio

from hegemon.cluster.embedded import EmbeddedRedis
from tests.nodes import node
from tests.waiting import wait_until

Environment = dict[str, str]


async def refusal(environment: Environment) -> str:
    """What a node that does not start writes."""
    async with node(environment, start=False) as refused:
        refused.spawn()
        assert await refused.ended() == 2, refused.log
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
        log = await refusal(environment | {"SERVER_PORT": str(first.port), "NODE_ID": "n2"})
        assert str(first.port) in log
