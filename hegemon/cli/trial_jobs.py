"""The handler of `hegemon election demo` and `bench`: it writes down when it starts and ends, for a judge outside.

One line is one `write` of less than PIPE_BUF bytes to a file opened with O_APPEND: lines of many processes stay whole,
and what was written survives a SIGKILL of the writer.
"""

from __future__ import annotations

import asyncio
import os
import time

from hegemon import Context, job

_journals: dict[str, int] = {}


@job("trial", timeout=60.0)
async def trial(ctx: Context, number: int, seconds: float = 0.0) -> int:
    """Give `number` back after `seconds`, between two lines of the file that TRIAL_JOURNAL names: `event number
    attempt monotonic_ns node`. Processes of one machine share that clock."""
    _write("start", ctx, number)
    if seconds:
        await asyncio.sleep(seconds)
    _write("end", ctx, number)
    return number


def _write(event: str, ctx: Context, number: int) -> None:
    now = time.monotonic_ns()
    path = os.environ["TRIAL_JOURNAL"]
    if path not in _journals:
        _journals[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_journals[path], f"{event} {number} {ctx.attempt} {now} {os.environ.get('NODE_ID', '-')}\n".encode())
