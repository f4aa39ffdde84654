"""streaQ: results kept for an hour."""

import asyncio
import logging
import os
import sys

from streaq import Worker

# A line of log for each job would cost it more than the job.
logging.disable(logging.INFO)
worker = Worker(redis_url=f"{os.environ['REDIS']}/0", concurrency=int(os.environ.get("CONCURRENCY", "16")))


@worker.task(name="noop", ttl=3600)
async def noop() -> None:
    """Do nothing."""


async def main() -> None:
    """Enqueue by pipelines."""
    async with worker:
        left = int(sys.argv[1])
        while left > 0:
            await worker.enqueue_many([noop.enqueue() for _ in range(min(left, 500))])
            left -= 500


if __name__ == "__main__":
    asyncio.run(main())
