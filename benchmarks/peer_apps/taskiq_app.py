"""taskiq: list or stream broker (BROKER), Redis result backend, results kept."""

import asyncio
import os
import sys

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

store = os.environ["REDIS"]
kind = {"list": ListQueueBroker, "stream": RedisStreamBroker}[os.environ.get("BROKER", "list")]
broker = kind(f"{store}/0").with_result_backend(RedisAsyncResultBackend(f"{store}/1", result_ex_time=3600))


@broker.task(task_name="noop")
async def noop() -> None:
    """Do nothing."""


async def main() -> None:
    """Enqueue, some at a time."""
    await broker.startup()
    left = int(sys.argv[1])
    while left > 0:
        await asyncio.gather(*(noop.kiq() for _ in range(min(left, 50))))
        left -= 50
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
