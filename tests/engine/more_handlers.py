"""Handlers that these tests need beside `tests.handlers`."""

from __future__ import annotations

import time
from typing import Any

from hegemon import Context, job
from tests.handlers import journal


@job("patient-thread")
def patient_thread(ctx: Context, seconds: float) -> None:
    """A thread that looks whether it should stop, as a good one does."""
    journal("start", ctx)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if ctx.cancelled:
            raise InterruptedError("asked to stop")
        time.sleep(0.01)
    journal("end", ctx)


@job("curious")
async def curious(ctx: Context, fail: int = 0) -> dict[str, Any]:
    """Tells what it was told, after failing a few times."""
    if ctx.failures < fail:
        raise RuntimeError("not yet")
    return {
        "job_id": ctx.job_id,
        "type": ctx.type,
        "queue": ctx.queue,
        "attempt": ctx.attempt,
        "failures": ctx.failures,
        "tags": list(ctx.tags),
        "cancelled": ctx.cancelled,
    }


@job("curious-echo")
async def curious_echo(ctx: Context, text: str, fail: int = 0) -> int:
    """The length of its text, after failing a few times."""
    if ctx.failures < fail:
        raise RuntimeError("not yet")
    return len(text)
