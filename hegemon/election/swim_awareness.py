"""Lifeguard's two measures of doubt: in oneself (the local health multiplier) and in a suspicion (its timeout).

| seen | local health multiplier (LHA-Probe) |
|---|---|
| a probe answered, directly or through others | - 1 |
| a probe that failed | + 1 |
| a probe that failed and a helper that did not even say Nack | + 1 more |
| a suspicion of oneself, refuted | + 1 |
| a deadline of one's own missed | + 1 for each probe interval begun, 3 at most |
"""

from __future__ import annotations

import math


class Awareness:
    """The local health multiplier: 0 is healthy; probe interval and timeout are stretched by one more than it."""

    __slots__ = ("_most", "score")

    def __init__(self, most: int) -> None:
        self._most = most
        self.score = 0

    def better(self) -> None:
        self.score = max(0, self.score - 1)

    def worse(self, by: int = 1) -> None:
        self.score = min(self._most, self.score + by)

    def stretch(self, period_s: float) -> float:
        """``period_s`` as one in this state of health should have it."""
        return period_s * (self.score + 1)


class Suspicion:
    """How long a suspect has to refute: ``least_s`` once ``expected`` more members suspect it independently,
    ``most_s`` while only one does, and logarithmically in between (Lifeguard, LHA-Suspicion)."""

    __slots__ = ("_by", "_expected", "_least_s", "_most_s", "started_at")

    def __init__(self, by: str, now: float, *, least_s: float, most_s: float, expected: int) -> None:
        self._by = {by}
        self._expected = expected
        self._least_s = least_s
        self._most_s = most_s if expected else least_s  # too few others ever to confirm
        self.started_at = now

    def confirm(self, by: str) -> bool:
        """Whether this is news: one of the first ``expected`` confirmations, from somebody new."""
        if not self.wants(by):
            return False
        self._by.add(by)
        return True

    def wants(self, by: str) -> bool:
        """Whether its word would count."""
        return by not in self._by and len(self._by) <= self._expected

    def deadline(self) -> float:
        """The time at which the suspect is dead."""
        confirmed = len(self._by) - 1
        if not self._expected:
            return self.started_at + self._least_s
        share = math.log(confirmed + 1) / math.log(self._expected + 1)
        return self.started_at + max(self._least_s, self._most_s - (self._most_s - self._least_s) * share)
