"""The way between a process and a store: how long a message takes, whether it arrives, what a cut does to it.

A path is TCP: what it carries for one connection arrives in order or not at all. A cut holds messages back; when it is
healed they arrive late, also after their sender has given them up, as what a kernel sends again does.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable

from tests.simulation.loop import Process

# Servers and the network are nobody's process: they are never stopped with one.
OUTSIDE = contextvars.Context()
Deliver = Callable[[], None]


class Path:
    """One process's way to one store. `delay_s` is a one-way delay's scale; `tail` the share of messages that take up
    to a hundred times as long; `loss` the chance that a message and its connection are lost."""

    def __init__(self, process: Process | None, rng: random.Random, *, delay_s: float = 0.0) -> None:
        self.process = process
        self.delay_s = delay_s
        self.tail = 0.0
        self.loss = 0.0
        self.cut_there = False
        self.cut_back = False
        self._rng = rng
        self._held: list[tuple[bool, Deliver, Deliver]] = []

    def carry(self, after_s: float, deliver: Deliver, lost: Deliver, *, back: bool) -> float:
        """Deliver a message no earlier than `after_s` (loop time); `lost` is called in its place if its connection
        dies. Returns when it will arrive."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not back and self.process is not None and not self.process.alive:
            return now
        if self.loss and self._rng.random() < self.loss:
            loop.call_at(now + self.delay_s, lost, context=OUTSIDE)
            return now
        if self.cut_back if back else self.cut_there:
            self._held.append((back, deliver, lost))
            return now
        when = max(after_s, now + self._delay())
        loop.call_at(when, deliver, context=OUTSIDE)
        return when

    def cut(self, *, there: bool, back: bool) -> None:
        """Let nothing through in these directions from now on; what was held in a healed one goes on, or is lost."""
        self.cut_there, self.cut_back = there, back
        held, self._held = self._held, []
        for was_back, deliver, lost in held:
            if self.cut_back if was_back else self.cut_there:
                self._held.append((was_back, deliver, lost))
            elif self._rng.random() < 0.5:
                self.carry(0.0, deliver, lost, back=was_back)
            else:
                lost()

    def _delay(self) -> float:
        if not self.delay_s:
            return 0.0
        delay = self.delay_s * (0.5 + self._rng.random())
        if self.tail and self._rng.random() < self.tail:
            delay *= 1 + 99 * self._rng.random() ** 2
        return delay
