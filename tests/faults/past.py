"""A Redis that comes back as it was a while ago: its append-only file loses its end, as after a write never synced."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hegemon.cluster.embedded import EmbeddedRedis
from tests.waiting import wait_until


def append_only_file(server: EmbeddedRedis) -> Path:
    """The part of the AOF that is being written."""
    (found,) = (server.data_dir / "appendonlydir").glob("*.incr.aof")
    return found


async def go_back(server: EmbeddedRedis, seconds: float, *, at_least: int = 10_000) -> None:
    """Let it work for so long, and until it has written `at_least` so many bytes; then none of that ever was."""
    path = append_only_file(server)
    kept = path.stat().st_size
    await asyncio.sleep(seconds)
    await wait_until(lambda: path.stat().st_size >= kept + at_least, message="something to lose")
    await server.kill()
    os.truncate(path, kept)
    await server.restart()
