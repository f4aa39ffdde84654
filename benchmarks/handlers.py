"""Handlers for measuring. They do as little as they can: what is measured is Hegemon, not they."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from hegemon import Context, job

_opened: dict[str, asyncio.Task[None]] = {}
_stamps: dict[str, int] = {}


@job("noop")
async def noop(**payload: Any) -> None:
    """Do nothing."""


@job("result")
async def result(ctx: Context, **payload: Any) -> str:
    """A result of 200 bytes as JSON, another one for each job."""
    return ctx.job_id.ljust(198, ".")


@job("nap")
async def nap(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)


@job("gate", timeout=3600.0)
async def gate(path: str) -> None:
    """Hold a slot until the file `path` exists, so that a backlog can be laid out behind it."""
    if path not in _opened:
        _opened[path] = asyncio.get_running_loop().create_task(_until_there(path))
    await _opened[path]


async def _until_there(path: str) -> None:
    # One look for all slots of the process: 500 a second cost nothing that would show.
    while not os.path.exists(path):  # noqa: ASYNC240 - a look at a name in memory
        await asyncio.sleep(0.002)


@job("stamp")
async def stamp(path: str, n: int) -> None:
    """Append `n monotonic_ns wall_ns` of this moment, the start of the handler, to the file `path`."""
    monotonic, wall = time.monotonic_ns(), time.time_ns()
    if path not in _stamps:
        _stamps[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_stamps[path], b"%d %d %d\n" % (n, monotonic, wall))
