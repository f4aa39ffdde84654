"""Raft in a simulated node: the product's driver and PySyncObj as they are, with a task in place of their thread,
virtual time in place of PySyncObj's clock, and a disk that outlives the node."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from pysyncobj import syncobj  # type: ignore[import-untyped]  # PySyncObj has no type information

from hegemon.cluster import raft_election
from hegemon.cluster.raft_driver import RaftDriver
from hegemon.cluster.raft_library import clock
from hegemon.cluster.raft_state import Durable
from tests.simulation.loop import CURRENT


class Disk:
    """Where a voter's term and vote are kept. `forgets_votes` keeps the term alone; `voted` is set at each vote for
    another than its `owner`."""

    def __init__(self, owner: str, *, forgets_votes: bool = False) -> None:
        self.owner = owner
        self.durable: Durable | None = None
        self.forgets_votes = forgets_votes
        self.voted = asyncio.Event()

    @property
    def blank(self) -> bool:
        """Whether nothing is known here of earlier terms."""
        return self.durable is None or self.durable.blank

    def load(self) -> Durable | None:
        """What was saved last."""
        if self.durable is not None and self.forgets_votes:
            return msgspec.structs.replace(self.durable, vote=None, blank=False)
        return self.durable

    def save(self, durable: Durable) -> None:
        """Saved at once."""
        before = self.durable or Durable()
        if durable.vote not in (None, self.owner) and (durable.term, durable.vote) != (before.term, before.vote):
            self.voted.set()
        self.durable = durable


class SimulatedDriver(RaftDriver):
    """The product's driver; `start` makes a task where that makes a thread."""

    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._some = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._turn())

    def stop(self) -> None:
        """The thread would be joined; what it says at its end is said here."""
        if self._task is not None and not self._stopping:
            self._stopping = True
            self._task.cancel()
            self.farewell(clock())

    def received(self, sender: str, payload: bytes, stream: bool = False) -> None:
        super().received(sender, payload, stream)
        self._some.set()

    def _order(self, order: Callable[[float], None]) -> None:
        super()._order(order)
        self._some.set()

    async def _turn(self) -> None:
        while True:
            self._some.clear()
            self.tick(clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self.deadline() - clock())):
                    await self._some.wait()


def on_loop(_: asyncio.AbstractEventLoop, function: Callable[..., object]) -> Callable[..., None]:
    """There is one thread: what was to run on the loop runs in its turn."""

    def call(*args: Any) -> None:
        asyncio.get_running_loop().call_soon(lambda: function(*args))

    return call


@contextlib.contextmanager
def raft_in_place(disk: Callable[[], Disk], unlucky: Callable[[], bool]) -> Iterator[None]:
    """Within this block nodes run Raft on the simulated loop. While `unlucky`, all draw the same election timeout."""

    def storage(directory: Path, **_: Any) -> Disk:
        return disk()

    class Chance:
        """PySyncObj's `random`, by the process that asks."""

        def __getattr__(self, name: str) -> Any:
            if name == "random" and unlucky():
                return lambda: 0.5
            process = CURRENT.get()
            return getattr(process.rng if process is not None else random, name)

    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (raft_election, "RaftDriver", SimulatedDriver),
            (raft_election, "RaftFile", storage),
            (raft_election, "on_loop", on_loop),
            (syncobj, "monotonicTime", time.monotonic),
            (syncobj, "random", Chance()),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        yield
