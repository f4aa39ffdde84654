"""Who lives, judged by counters that move, on the judge's own monotonic clock. No wall clock is compared.

A missing counter is unknown, not dead: it gets a full lease from the moment it was first missed, and so does everyone
under a new office or after a loss of Redis, because a `Liveness` begins empty, and after any pause of the judge's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Liveness:
    """One judge. `patience_s` is the lease plus what a beat may take on its way."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._judged_s: float | None = None

    def dead(self, members: Iterable[str], beats: Mapping[str, int], now_s: float) -> list[str]:
        """Which members' counters have not moved for longer than the patience."""
        # A judge that was stopped, or that could not see, knows nothing of the time between.
        if self._judged_s is None or now_s - self._judged_s > self._patience_s / 2:
            self._seen.clear()
        self._judged_s = now_s
        found = []
        known = set(members)
        for member in known:
            beat = beats.get(member)
            before = self._seen.get(member)
            if before is None or before[0] != beat:
                self._seen[member] = (beat, now_s)
            elif now_s - before[1] > self._patience_s:
                found.append(member)
        for gone in self._seen.keys() - known:
            del self._seen[gone]
        return found
