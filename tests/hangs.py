"""What a hanging test waits for: pytest's own watchdog shows threads, and an event loop's thread only ever selects.

`pytest_runtest_protocol` of tests/conftest.py holds `watched` around each test. The watchdog (`faulthandler_timeout` in
pyproject.toml) ends the process afterwards.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any


@contextmanager
def watched(name: str, to: int, after_s: float) -> Iterator[None]:
    """Write to the file descriptor `to` where each task stands if the body still runs after `after_s` seconds."""
    timer = threading.Timer(after_s, lambda: os.write(to, where_tasks_stand(name).encode()))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def where_tasks_stand(name: str) -> str:
    """The stack of each task of each loop of this process, from its first coroutine to what it waits for."""
    lines = [f"\n{name} hangs\n"]
    # By type: a proxy that is asked for its class may act on that.
    loops = [found for found in gc.get_objects() if issubclass(type(found), asyncio.BaseEventLoop)]
    for loop in [found for found in loops if found.is_running()]:
        for task in asyncio.all_tasks(loop):
            lines.append(f"task {task.get_name()}:\n")
            frames = [(frame, frame.f_lineno) for frame in _awaited(task.get_coro())]
            lines += traceback.StackSummary.extract(iter(frames)).format()
    return "".join(lines)


def _awaited(waiting: Any) -> Iterator[FrameType]:
    """The frames of a coroutine, of what it awaits, and so on."""
    while True:
        if isinstance(waiting, CoroutineType):
            frame, waiting = waiting.cr_frame, waiting.cr_await
        elif isinstance(waiting, GeneratorType):
            frame, waiting = waiting.gi_frame, waiting.gi_yieldfrom
        elif isinstance(waiting, AsyncGeneratorType):
            frame, waiting = waiting.ag_frame, waiting.ag_await
        else:
            # The step of an asynchronous generator hides whose it is, but holds it.
            held = [part for part in gc.get_referents(waiting) if isinstance(part, AsyncGeneratorType | CoroutineType)]
            if not held:
                return
            waiting = held[0]
            continue
        if frame is not None:
            yield frame


def standard_error() -> int:
    """A copy of where this process writes its errors; for a time when pytest does not capture it."""
    try:
        return os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return os.dup(2)  # pytest-xdist replaces sys.stderr
