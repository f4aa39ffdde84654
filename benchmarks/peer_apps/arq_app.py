"""arq: results kept for an hour, its default."""

import asyncio
import logging
import os
import sys
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

# A line of log for each job would cost it more than the job.
logging.disable(logging.INFO)
settings = RedisSettings.from_dsn(f"{os.environ['REDIS']}/0")


async def noop(_ctx: dict[str, Any]) -> None:
    """Do nothing."""


class WorkerSettings:
    """What the `arq` command reads."""

    functions = (noop,)
    redis_settings = settings
    max_jobs = int(os.environ.get("CONCURRENCY", "10"))
    poll_delay = 0.01


async def main() -> None:
    """Enqueue, some at a time: one call is two round trips."""
    pool = await create_pool(settings)
    left = int(sys.argv[1])
    while left > 0:
        await asyncio.gather(*(pool.enqueue_job("noop") for _ in range(min(left, 50))))
        left -= 50


if __name__ == "__main__":
    asyncio.run(main())
