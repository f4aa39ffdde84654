"""SAQ: job records kept for an hour."""

import asyncio
import logging
import os
import sys
from typing import Any

from saq import Queue

# A line of log for each job would cost it more than the job.
logging.disable(logging.INFO)
queue = Queue.from_url(f"{os.environ['REDIS']}/0")


async def noop(_ctx: dict[str, Any]) -> None:
    """Do nothing."""


settings = {"queue": queue, "functions": [noop], "concurrency": int(os.environ.get("CONCURRENCY", "10"))}


async def main() -> None:
    """Enqueue, some at a time."""
    await queue.connect()
    left = int(sys.argv[1])
    while left > 0:
        await asyncio.gather(*(queue.enqueue("noop", ttl=3600) for _ in range(min(left, 50))))
        left -= 50
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
