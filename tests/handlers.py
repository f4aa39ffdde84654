"""Handlers for tests. Each writes its starts and ends to an append-only journal outside of Hegemon: the judge reads it.

One line is one `write` of less than PIPE_BUF bytes to a file opened with O_APPEND, so that lines of many processes stay
whole and what was written survives a SIGKILL of the writer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

from hegemon import Context, Reject, RetryAfter, job

_lock = threading.Lock()
_fd = -1


def journal(event: str, ctx: Context) -> None:
    """`event job attempt monotonic_ns pid` as one line of JOURNAL, if there is one."""
    global _fd  # noqa: PLW0603 - one descriptor a process
    path = os.environ.get("JOURNAL")
    if path is None:
        return
    with _lock:
        if _fd < 0:
            _fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_fd, f"{event} {ctx.job_id} {ctx.attempt} {time.monotonic_ns()} {os.getpid()}\n".encode())


def is_open(gate: str) -> bool:
    """Whether the test lets those go that wait at this gate: a path, and it is open when something is there."""
    return not gate or os.path.exists(gate)


async def at(gate: str) -> None:
    """Wait at the gate."""
    while not is_open(gate):
        await asyncio.sleep(0.01)


@job("journaled")
async def journaled(ctx: Context, seconds: float = 0.0, result: int = 0, gate: str = "") -> int:
    """Runs until its gate is open and for a while, between two lines of the journal."""
    journal("start", ctx)
    await at(gate)
    if seconds:
        await asyncio.sleep(seconds)
    journal("end", ctx)
    return result


@job("journaled-thread")
def journaled_thread(ctx: Context, seconds: float = 0.0, gate: str = "") -> None:
    """The same in a thread."""
    journal("start", ctx)
    while not is_open(gate):
        time.sleep(0.01)
    time.sleep(seconds)
    journal("end", ctx)


@job("blocking")
async def blocking(ctx: Context, seconds: float = 0.0, gate: str = "") -> str:
    """Blocks the event loop, as a careless handler does."""
    journal("start", ctx)
    while not is_open(gate):
        time.sleep(0.01)  # noqa: ASYNC251 - that is the point
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    journal("end", ctx)
    return "done"


@job("crash")
async def crash(ctx: Context, how: str = "exit", times: int = 1_000_000) -> str:
    """Ends its process: `exit`, `kill`, `abort`; after `times` crashes it behaves."""
    journal("start", ctx)
    path = os.environ.get("JOURNAL")
    if path is not None:
        with open(path) as lines:  # noqa: ASYNC230 - a test's handler
            starts = sum(1 for line in lines if line.startswith(f"start {ctx.job_id} "))
        if starts > times:
            journal("end", ctx)
            return "survived"
    if how == "exit":
        os._exit(3)
    if how == "abort":
        os.abort()
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@job("picky", max_retries=5)
async def picky(ctx: Context, how: str = "reject") -> str:
    """Fails in a way of its own."""
    journal("start", ctx)
    if how == "reject":
        raise Reject("not this one")
    if how == "later" and ctx.failures == 0:
        raise RetryAfter(0.2, "in a moment")
    if how == "exit":
        raise SystemExit(3)
    if how == "unwritable":
        return object()  # type: ignore[return-value]  # that is the point
    return "x" * 3_000_000 if how == "huge" else "fine"


@job("talkative")
async def talkative(ctx: Context, lines: int = 3, gate: str = "") -> None:
    """Says what it does, and waits at its gate after the first line."""
    for i in range(lines):
        ctx.progress((i + 1) / lines, f"step {i + 1}")
        ctx.log(f"line {i + 1}")
        await at(gate)


@job("typed")
async def typed(name: str, count: int = 1, tags: list[str] | None = None) -> dict[str, object]:
    """Gives its arguments back."""
    return {"name": name, "count": count, "tags": tags}
