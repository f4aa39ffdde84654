"""Handlers for a node that knows nothing else: this module imports no other handlers, which would be registered too."""

from __future__ import annotations

from typing import Any

from hegemon import Context, job


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
