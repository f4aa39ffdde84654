"""Handlers that harm their process, each in its own way. Named in HANDLERS beside the others by the tests of poison."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import threading
import time

from hegemon import Context, job
from tests.handlers import journal

# Far above what a worker process has by itself.
EATEN_BYTES = 400 << 20


@job("segfault")
async def segfault(ctx: Context) -> None:
    """Reads at address 0."""
    journal("start", ctx)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


@job("dies-later")
async def dies_later(ctx: Context) -> None:
    """Ends its process once it is recorded as running, and whoever ran beside it too."""
    journal("start", ctx)
    await asyncio.sleep(1.0)
    os._exit(3)


@job("exit-in-a-thread")
def exit_in_a_thread(ctx: Context) -> None:
    """Ends the whole process from a thread of its own, while the event loop is fine."""
    journal("start", ctx)
    thread = threading.Thread(target=os._exit, args=(0,))
    thread.start()
    thread.join()


@job("eats-memory")
async def eats_memory(ctx: Context) -> None:
    """Grows until somebody kills its process: the test does what the kernel's OOM killer would do."""
    journal("start", ctx)
    eaten = bytearray(EATEN_BYTES)
    eaten[:: resource.getpagesize()] = b"x" * len(range(0, EATEN_BYTES, resource.getpagesize()))
    await asyncio.sleep(60)


@job("allocates-too-much", max_retries=1)
async def allocates_too_much(ctx: Context) -> None:
    """Meets a limit instead: Python raises, and nothing dies."""
    journal("start", ctx)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, before[1]))
    try:
        bytearray(64 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@job("forks")
async def forks(ctx: Context, orphans: str, dies: bool = True) -> str:
    """Leaves a child behind that holds all of its sockets; `orphans` is a file for the child's process id."""
    journal("start", ctx)
    child = os.fork()
    if child == 0:
        time.sleep(3600)  # noqa: ASYNC251 - it holds what it inherited, and does nothing
        os._exit(0)
    with open(orphans, "a") as file:  # noqa: ASYNC230 - a test's handler
        file.write(f"{child}\n")
    if dies:
        os._exit(4)
    journal("end", ctx)
    return "left a child behind"


@job("never-returns", max_retries=1)
async def never_returns(ctx: Context) -> None:
    """Blocks its event loop for good."""
    journal("start", ctx)
    time.sleep(1000)  # noqa: ASYNC251 - that is the point


@job("clings")
async def clings(ctx: Context) -> None:
    """Shrugs off every cancellation, without blocking anybody."""
    journal("start", ctx)
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass
