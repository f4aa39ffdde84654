"""`hegemon node` that measures how long its event loop works in one go. Its arguments mean nothing.

A timer asks to be called every 2 ms. What the loop's thread has computed between two of its calls, in seconds of
processor time, is what a heartbeat that is due may have to wait for; how busy the machine is does not matter. It begins
when the file LOOP_FIGURES is there, and writes the figures into it at the end.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec

from hegemon.cli import node
from hegemon.cluster.settings import Settings
from hegemon.cluster.trial_figures import quantile

EVERY_S = 0.002


class LoopFigures(msgspec.Struct, frozen=True):
    """Of all stretches, in milliseconds."""

    stretches: int
    cpu_p50_ms: float
    cpu_p99_ms: float
    cpu_max_ms: float
    wall_max_ms: float


async def _measure(spans: list[tuple[float, float]]) -> None:
    worked, was = time.thread_time(), time.monotonic()
    while True:
        await asyncio.sleep(EVERY_S)
        works, now = time.thread_time(), time.monotonic()
        spans.append((1000 * (works - worked), 1000 * (now - was)))
        worked, was = works, now


def _write(spans: list[tuple[float, float]]) -> None:
    cpu = [cpu for cpu, _ in spans]
    found = LoopFigures(len(spans), quantile(cpu, 50), quantile(cpu, 99), max(cpu), max(wall for _, wall in spans))
    Path(os.environ["LOOP_FIGURES"]).write_bytes(msgspec.json.encode(found))


_serve = node._serve


async def _timed(settings: Settings) -> None:
    spans: list[tuple[float, float]] = []
    measuring = asyncio.create_task(_measure(spans))

    async def begin_anew() -> None:
        # A start is no flood: what it takes is not counted.
        while not os.path.exists(os.environ["LOOP_FIGURES"]):  # noqa: ASYNC240 - a look takes microseconds
            await asyncio.sleep(0.1)
        spans.clear()

    beginning = asyncio.create_task(begin_anew())
    try:
        await _serve(settings)
    finally:
        measuring.cancel()
        beginning.cancel()
        _write(spans)


if __name__ == "__main__":
    node._serve = _timed
    node.node()
