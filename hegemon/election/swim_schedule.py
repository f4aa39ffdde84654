"""Whom to probe next.

SWIM (4.3) probes round-robin through a shuffled list, so that each member is probed within bounded time; who is new is
inserted at random. How long the *first* probe of a dead member takes is still up to chance: with 100 members one time
in a hundred it is 4.6 periods. Therefore every other period goes to the successor on the ring of ids instead: the same
load, and each member is probed by its predecessor within two periods, always. Nor are Lifeguard's confirmations left to
chance: who follows closely on the ring and is suspected is probed first, so that its predecessors confirm, or clear it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Final

from hegemon.election.contract import Randomness

CONFIRMERS: Final = 4  # predecessors on the ring who look at a suspect: the first, and the K = 3 that confirm


class ProbeSchedule:
    """The order of one member's probes."""

    __slots__ = ("_at", "_me", "_order", "_ring", "_ring_turn", "_rng")

    def __init__(self, me: str, rng: Randomness) -> None:
        self._me = me
        self._rng = rng
        self._order: list[str] = []
        self._ring: list[str] = []
        self._at = 0
        self._ring_turn = False

    def add(self, member: str) -> None:
        """Probe it from now on."""
        place = self._rng.randrange(len(self._order) + 1)
        self._order.insert(place, member)
        self._at += place < self._at
        insort(self._ring, member)

    def remove(self, member: str) -> None:
        """Probe it no more."""
        place = self._order.index(member)
        del self._order[place]
        self._at -= place < self._at
        del self._ring[bisect_left(self._ring, member)]

    def next(self, unsuspected: Callable[[str], bool], doubtful: Callable[[str], bool] = lambda _: False) -> str | None:
        """The member whose turn it is, None if there is none. The ring passes over who is suspected already, but for
        those whose suspicion our word would still confirm (``doubtful``)."""
        if not self._order:
            return None
        self._ring_turn = not self._ring_turn
        if self._ring_turn and (successor := self._successor(unsuspected, doubtful)) is not None:
            return successor
        if self._at >= len(self._order):
            self._rng.shuffle(self._order)
            self._at = 0
        self._at += 1
        return self._order[self._at - 1]

    def _successor(self, unsuspected: Callable[[str], bool], doubtful: Callable[[str], bool]) -> str | None:
        start = bisect_right(self._ring, self._me)
        size = len(self._ring)
        nearest: str | None = None
        for step in range(size):
            member = self._ring[(start + step) % size]
            if step < CONFIRMERS and doubtful(member):
                return member
            if nearest is None and unsuspected(member):
                nearest = member
            if nearest is not None and step >= CONFIRMERS - 1:
                break
        return nearest
