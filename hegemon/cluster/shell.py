"""The election shell: gives an elector its events and the time, and carries out its effects in order.

Solo needs no transport; the other electors bring their datagrams and streams through the same two methods.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hegemon.election.contract import Changed, Effect, Elector, Event, Lost, OfficeLost, Resign, Tick, View, Won

HISTORY: Final = 50


class Change(msgspec.Struct, frozen=True):
    """One change of leadership, for people. `at` is UTC milliseconds of the cluster clock."""

    at: int
    what: str
    leader: str | None
    term: int
    reason: str = ""


class ElectionShell:
    """Drives one elector. `wanted` is the term in which this node should hold the office, None while it should not."""

    def __init__(self, elector: Elector, now_ms: Callable[[], int]) -> None:
        self._elector = elector
        self._now_ms = now_ms
        self._events: asyncio.Queue[Event] = asyncio.Queue(maxsize=1000)
        self._moved = asyncio.Condition()
        self.wanted: int | None = None
        self.changes: list[Change] = []

    @property
    def view(self) -> View:
        """What the elector believes now."""
        return self._elector.view

    async def run(self) -> None:
        """Feed the elector until cancelled."""
        await self._carry_out(self._elector.start(time.monotonic()))
        while True:
            deadline = self._elector.deadline()
            wait = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                async with asyncio.timeout(wait):
                    event = await self._events.get()
            except TimeoutError:
                event = Tick()
            await self._carry_out(self._elector.handle(event, time.monotonic()))

    async def office_lost(self, reason: str) -> None:
        """Tell the elector that its win did not lead to, or did not keep, the office."""
        await self._events.put(OfficeLost(reason))

    async def resign(self, reason: str) -> None:
        """Stand down for good, in order."""
        await self._events.put(Resign(reason))

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until something about `wanted` makes the predicate true."""
        async with self._moved:
            await self._moved.wait_for(predicate)

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            await self._one(effect)

    async def _one(self, effect: Effect) -> None:
        view = self._elector.view
        if isinstance(effect, Won):
            self._note(Change(self._now_ms(), "won", view.leader, effect.term))
            await self._set(effect.term)
        elif isinstance(effect, Lost):
            self._note(Change(self._now_ms(), "lost", effect.leader, view.term, effect.reason))
            await self._set(None)
        elif isinstance(effect, Changed):
            self._note(Change(self._now_ms(), "view", effect.view.leader, effect.view.term))
        # Send and Stream belong to electors with a transport.

    async def _set(self, term: int | None) -> None:
        async with self._moved:
            self.wanted = term
            self._moved.notify_all()

    def _note(self, change: Change) -> None:
        self.changes = [*self.changes[-HISTORY + 1 :], change]
