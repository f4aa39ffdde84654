"""Named alarms on one heap: to set, move, cancel and ask for the next is O(log n), however many suspicions run."""

from __future__ import annotations

from heapq import heappop, heappush

Key = tuple[str, str | int]


class Timers:
    """Each key rings at most once, at the time it was last set to."""

    __slots__ = ("_at", "_heap", "_order")

    def __init__(self) -> None:
        self._at: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._at

    def set(self, key: Key, at: float) -> None:
        """Ring ``key`` at ``at``, and not at the time it was set to before."""
        self._order += 1
        self._at[key] = (at, self._order)
        heappush(self._heap, (at, self._order, key))

    def cancel(self, key: Key) -> None:
        """Do not ring; nothing if it was not set."""
        self._at.pop(key, None)

    def next(self) -> float | None:
        """The time of the next ring, None if nothing is set."""
        heap = self._heap
        while heap:
            at, order, key = heap[0]
            if self._at.get(key) == (at, order):
                return at
            heappop(heap)
        return None

    def due(self, now: float) -> Key | None:
        """Take the first key that should have rung by now."""
        at = self.next()
        if at is None or at > now:
            return None
        key = heappop(self._heap)[2]
        del self._at[key]
        return key

    def postpone(self, by_s: float) -> None:
        """Move every alarm: the time that passed was not ours."""
        moved = [(at + by_s, order, key) for key, (at, order) in self._at.items()]
        self._at = {key: (at, order) for at, order, key in moved}
        self._heap = sorted(moved)
