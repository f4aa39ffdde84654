"""How fast a worker works, as measured: what it may hold beyond its free slots follows from it (invariant I6)."""

from __future__ import annotations

from typing import Final

# Beyond free slots a worker holds what it works off in this time.
AHEAD_S: Final = 0.05


class Pace:
    """Jobs a second while there was work, smoothed over some 100 ms."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._done = 0

    @property
    def ahead(self) -> int:
        """How many jobs AHEAD_S of work are."""
        return int(self._rate * AHEAD_S)

    def ended(self) -> None:
        """A job has ended."""
        self._done += 1

    def measure(self, elapsed_s: float, *, busy: bool) -> None:
        """Take what ended since the last call. Idle time says nothing about speed, but lets an old measure fade."""
        done, self._done = self._done, 0
        if done or busy:
            self._rate = 0.6 * self._rate + 0.4 * done / elapsed_s
        else:
            self._rate *= 0.8
