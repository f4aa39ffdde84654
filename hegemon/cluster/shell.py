"""The election shell: gives an elector its events and the time, and carries out its effects in order.

One shell drives Solo, Bully and Gossip over one transport, and Raft through its driver. It is the only place where an
election meets a clock, a socket or the office.

| failure | effect |
|---|---|
| peers say more than the elector takes | the newest words are dropped and counted, as datagrams may be |
| the elector stumbles over what a peer said | logged and counted; the election goes on without those words |
| the process is stopped for a while | the elector is told the time with each event, and judges for itself |
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from hegemon.election.contract import (
    Abdicate,
    Changed,
    Effect,
    Elector,
    Event,
    Fitness,
    Lost,
    OfficeLost,
    Received,
    Resign,
    Send,
    Stream,
    Tick,
    View,
    Won,
)
from hegemon.events.bus import Emit, unheard
from hegemon.events.cluster import ElectionLost, ElectionWon, LeaderChanged

log = structlog.get_logger(__name__)

HISTORY: Final = 50
BACKLOG_MAX: Final = 10_000


class Change(msgspec.Struct, frozen=True):
    """One change of leadership, for people. `at` is UTC milliseconds of the cluster clock."""

    at: int
    what: str
    leader: str | None
    term: int
    reason: str = ""


class Carrier(Protocol):
    """What brings words to peers. Neither call waits, nor fails for the network's sake."""

    def send(self, to: str, payload: bytes) -> None: ...

    def stream(self, to: str, payload: bytes) -> None: ...


class ElectionShell:
    """Drives one elector. `wanted` is the term in which this node should hold the office, None while it should not;
    `wins` counts its wins, since one may be lost and the next one won before anybody who waits has looked."""

    def __init__(
        self,
        elector: Elector,
        now_ms: Callable[[], int],
        *,
        carrier: Carrier | None = None,
        abdicate: Callable[[Abdicate], None] | None = None,
        changed: Callable[[View], None] | None = None,
    ) -> None:
        self._elector = elector
        self._now_ms = now_ms
        self._carrier = carrier
        self._abdicate = abdicate
        self._changed = changed
        self._led: tuple[str | None, int] = (None, 0)
        # Set by whoever has built all this.
        self.emit: Emit = unheard
        self._events: deque[Event] = deque()
        self._some = asyncio.Event()
        self._moved = asyncio.Condition()
        self.wanted: int | None = None
        self.wins = 0
        self.changes: list[Change] = []
        self.dropped = 0
        self.stumbles = 0

    @property
    def view(self) -> View:
        """What the elector believes now."""
        return self._elector.view

    def tell(self, event: Event) -> None:
        """Give the elector an event; from the loop's own thread. What comes from peers is bounded, the rest is rare."""
        if isinstance(event, Received) and len(self._events) >= BACKLOG_MAX:
            self.dropped += 1
            return
        self._events.append(event)
        self._some.set()

    def received(self, sender: str, payload: bytes, stream: bool) -> None:
        """What the transport hands over."""
        self.tell(Received(sender, payload, stream))

    def fit(self, reached: bool) -> None:
        """Whether this node reaches both stores."""
        self.tell(Fitness(reached))

    async def run(self) -> None:
        """Feed the elector until cancelled."""
        await self._carry_out(self._elector.start(time.monotonic()))
        while True:
            if not self._events:
                await self._wait()
            event = self._events.popleft() if self._events else Tick()
            await self._carry_out(self._handle(event))
            deadline = self._elector.deadline()
            if self._events and deadline is not None and time.monotonic() >= deadline:
                # However much the peers say: the time is told too.
                await self._carry_out(self._handle(Tick()))

    async def office_lost(self, reason: str) -> None:
        """Tell the elector that its win did not lead to, or did not keep, the office."""
        self.tell(OfficeLost(reason))

    async def resign(self, reason: str, pause_s: float | None = None) -> None:
        """Stand down in order: for good, or for so many seconds."""
        self.tell(Resign(reason, pause_s))

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until something about `wanted` or `wins` makes the predicate true. What is true only for a moment may be
        missed: that `wanted` is None, when the next win comes in the same turn of the loop."""
        async with self._moved:
            await self._moved.wait_for(predicate)

    async def _wait(self) -> None:
        deadline = self._elector.deadline()
        wait = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        self._some.clear()
        try:
            async with asyncio.timeout(wait):
                await self._some.wait()
        except TimeoutError:
            pass

    def _handle(self, event: Event) -> Sequence[Effect]:
        try:
            return self._elector.handle(event, time.monotonic())
        except Exception:
            if not isinstance(event, Received):
                raise
            self.stumbles += 1
            log.exception("election_stumbled", sender=event.sender)
            return ()

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            await self._one(effect)

    async def _one(self, effect: Effect) -> None:
        match effect:
            case Send(to, payload):
                if self._carrier is not None:
                    self._carrier.send(to, payload)
            case Stream(to, payload):
                if self._carrier is not None:
                    self._carrier.stream(to, payload)
            case Won(term):
                self._note("won", self.view.leader, term)
                self.wins += 1
                self.emit(ElectionWon(term))
                await self._set(term)
            case Lost(leader, reason):
                self._note("lost", leader, self.view.term, reason)
                self.emit(ElectionLost(leader, self.view.term, reason))
                await self._set(None)
            case Changed(view):
                if self._changed is not None:
                    self._changed(view)
                last = self.changes[-1] if self.changes else None
                # Members come and go more often than leaders; this is the history of leadership.
                if last is None or (last.leader, last.term) != (view.leader, view.term):
                    self._note("view", view.leader, view.term)
            case Abdicate():
                if self._abdicate is not None:
                    self._abdicate(effect)

    async def _set(self, term: int | None) -> None:
        async with self._moved:
            self.wanted = term
            self._moved.notify_all()

    def _note(self, what: str, leader: str | None, term: int, reason: str = "") -> None:
        self.changes = [*self.changes[-HISTORY + 1 :], Change(self._now_ms(), what, leader, term, reason)]
        log.info("election", what=what, leader=leader, term=term, reason=reason)
        if self._led != (leader, term):
            self._led = (leader, term)
            self.emit(LeaderChanged(leader, term))
