"""The last events of this node, in memory: what it can tell whatever the stores do."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Final

from hegemon.events.bus import Recorded
from hegemon.events.table import about_jobs

RING: Final = 1000


class Ring:
    """At most `size` events. Those about jobs may take all the room that there is, but leave half of it to the others
    when those need it: a storm of failing jobs does not push out what happened to the cluster."""

    def __init__(self, size: int = RING) -> None:
        self._size = size
        self._jobs: deque[Recorded] = deque()
        self._others: deque[Recorded] = deque()

    def __len__(self) -> int:
        return len(self._jobs) + len(self._others)

    def add(self, recorded: Recorded) -> None:
        """A subscriber of the events."""
        (self._jobs if about_jobs(recorded.event.kind) else self._others).append(recorded)
        if len(self) > self._size:
            (self._jobs if len(self._jobs) > self._size // 2 else self._others).popleft()

    def after(self, seq: int) -> list[Recorded]:
        """Those with a higher number, in order."""
        return list(heapq.merge(_behind(self._jobs, seq), _behind(self._others, seq), key=lambda one: one.seq))


def _behind(events: deque[Recorded], seq: int) -> Iterable[Recorded]:
    """From the new end, since what is asked for is mostly what has just come."""
    found: list[Recorded] = []
    for one in reversed(events):
        if one.seq <= seq:
            break
        found.append(one)
    return reversed(found)
