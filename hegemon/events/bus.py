"""How events get from who knows something to who wants to know: synchronously, at once, and never at the teller's cost.

    emitter ──emit(kind)──> Events ──Recorded(boot:seq, time, node)──> each subscriber, in turn

| what is promised | by whom |
|---|---|
| `emit` never raises and never waits | `Events`: what a subscriber raises is counted, and logged once |
| a subscriber takes microseconds, asks no store, emits nothing | the subscriber, which has a bounded place of its own |
| there are few subscribers | `subscribe`: at most SUBSCRIBERS_MAX, so that a thousand streams are one |
| all of it happens in the event loop's thread | the emitter: other threads hand their facts to the loop first |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from hegemon.events.kind import DomainEvent

log = structlog.get_logger(__name__)

SUBSCRIBERS_MAX: Final = 16
Emit = Callable[[DomainEvent], None]


def unheard(event: DomainEvent) -> None:
    """The `Emit` of a part that stands alone: nobody listens."""
    del event


class Recorded(msgspec.Struct, frozen=True):
    """An event with its place and time: `seq` counts a node's events from 1 within `boot`, the number of its start;
    `at_ms` is the cluster clock's."""

    boot: int
    seq: int
    at_ms: int
    node: str
    event: DomainEvent

    @property
    def id(self) -> str:
        """NODE:BOOT:SEQ: one event's name in the whole cluster, for ever. A node's own only grow, without gaps."""
        return f"{self.node}:{self.boot}:{self.seq}"


Subscriber = Callable[[Recorded], None]


class Events:
    """One node's. What is emitted before `begin` is heard by nobody: the node has no boot number yet."""

    def __init__(self, node: str, now_ms: Callable[[], int]) -> None:
        self._node = node
        self._now_ms = now_ms
        self._boot = 0
        self._seq = 0
        self._subscribers: tuple[Subscriber, ...] = ()
        self._complained: set[Subscriber] = set()
        self.failures = 0

    def begin(self, boot: int) -> None:
        """Count from 1 under this boot number."""
        self._boot, self._seq = boot, 0

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call it with each event from now on, until what this returns is called. ValueError if there are too many."""
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            raise ValueError(f"at most {SUBSCRIBERS_MAX} subscribers: share one")
        self._subscribers = (*self._subscribers, subscriber)

        def leave() -> None:
            self._subscribers = tuple(one for one in self._subscribers if one is not subscriber)

        return leave

    def emit(self, event: DomainEvent) -> None:
        """Tell it to all who listen."""
        if not self._boot:
            return
        self._seq += 1
        recorded = Recorded(self._boot, self._seq, self._now_ms(), self._node, event)
        for subscriber in self._subscribers:
            try:
                subscriber(recorded)
            except Exception:  # whatever it is, the emitter has other things to do
                self.failures += 1
                if subscriber not in self._complained:
                    self._complained.add(subscriber)
                    log.exception("subscriber_failed", kind=event.kind)
