"""The one way in which tests wait: until something holds, never for a length of time."""

import asyncio
import inspect
import subprocess
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, overload

import pytest

T = TypeVar("T")

_POLL_S = 0.01
# Far beyond what anything takes that goes well: on a loaded machine only what never comes may fail a test.
PATIENCE_S = 120.0
PATIENCE = timedelta(seconds=PATIENCE_S)


@overload
async def wait_until(predicate: Callable[[], Awaitable[T]], timeout: float = ..., message: str = ...) -> T: ...


@overload
async def wait_until(predicate: Callable[[], T], timeout: float = ..., message: str = ...) -> T: ...


async def wait_until(
    predicate: Callable[[], Any], timeout: float = PATIENCE_S, message: str = "the condition to hold"
) -> Any:
    """Return the first truthy value of `predicate`, which is called every 10 ms and may be a coroutine function.

    After `timeout` seconds the test fails with `message` and the last value. An exception of the predicate's own is not
    an answer and ends the wait at once. A call of the predicate that hangs counts against the timeout too.
    """
    value: Any = None
    deadline = time.monotonic() + timeout
    try:
        async with asyncio.timeout(timeout):
            while True:
                outcome = predicate()
                value = await outcome if inspect.isawaitable(outcome) else outcome
                if value:
                    return value
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        if time.monotonic() < deadline:
            raise  # the predicate's own
    pytest.fail(f"waited {timeout:g} s for {message}; the last value was {value!r}")


async def output_of(*command: str, given: bytes = b"") -> tuple[int, bytes]:
    """Run a program to its end with `given` as its input; its exit code and all that it wrote.

    After PATIENCE_S it is killed, and the test fails with its last words.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    told = asyncio.ensure_future(process.communicate(given))
    await asyncio.wait([told], timeout=PATIENCE_S)
    if hung := not told.done():
        process.kill()
    said, _ = await told
    if hung:
        pytest.fail(f"{' '.join(command)} did not end in {PATIENCE_S:g} s: {said[-2000:].decode(errors='replace')}")
    assert process.returncode is not None
    return process.returncode, said
