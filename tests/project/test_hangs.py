"""A test that hangs names what it waits for."""

import asyncio
import os
from collections.abc import AsyncIterator

from tests.hangs import watched, where_tasks_stand


async def _words(gate: asyncio.Event) -> AsyncIterator[str]:
    await gate.wait()
    yield "never"


async def _reader(gate: asyncio.Event) -> list[str]:
    return [word async for word in _words(gate)]


async def test_the_stack_of_a_task_goes_down_to_what_it_waits_for() -> None:
    task = asyncio.create_task(_reader(asyncio.Event()), name="the reader")
    await asyncio.sleep(0)
    said = await asyncio.to_thread(where_tasks_stand, "tests/x.py::test_y")
    task.cancel()
    await asyncio.wait([task])
    assert said.startswith("\ntests/x.py::test_y hangs\n")
    _, _, stack = said.partition("task the reader:")
    assert stack.index("async for word in _words(gate)") < stack.index("await gate.wait()") < stack.index("await fut")


async def test_it_is_said_once_the_time_is_over_and_not_before() -> None:
    reading, writing = os.pipe()
    with watched("short", writing, after_s=600):
        pass
    with watched("long", writing, after_s=0.001):
        said = await asyncio.to_thread(os.read, reading, 1_000_000)
    assert said.startswith(b"\nlong hangs\n")
    os.close(reading)
    os.close(writing)
