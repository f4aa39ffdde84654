"""The border to redis-py: what it does to our tasks and errors does not get through."""

import asyncio
import gc
from datetime import timedelta

import pytest

from hegemon.cluster.embedded import EmbeddedRedis
from hegemon.queue.errors import StoreUnavailable
from hegemon.queue.redis import Redis
from tests.conftest import RedisServer
from tests.engine.parts import TIMEOUT


# The socket of a connection that was given up half-way is left to the garbage collector, by redis-py.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("steps", range(0, 40, 2))
async def test_a_call_is_cancelled_however_far_its_connection_has_come(redis_server: RedisServer, steps: int) -> None:
    """redis-py swallows the cancellation at some of these moments; a leader's duties would then never end."""
    redis = Redis(redis_server.url, "test", timeout=TIMEOUT)
    waiting = asyncio.create_task(redis.wait("nobody-wakes-us", 60.0))
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await redis.command("PING")
    await redis.close()
    # Here and now, where its warnings are expected: later they would be some other test's.
    gc.collect()


async def test_a_server_that_is_not_there_is_unavailable_at_once(own_redis: EmbeddedRedis) -> None:
    url = own_redis.url
    await own_redis.stop()
    redis = Redis(url, "test", timeout=timedelta(seconds=5))
    with pytest.raises(StoreUnavailable) as away:
        await redis.command("PING")
    assert (away.value.store, away.value.retry_after_s) == ("Redis", 1.0)
    await redis.close()
