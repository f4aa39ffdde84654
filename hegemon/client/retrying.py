"""Whether to send a request again, and when: a pure decision, so that both clients make the same one.

Sent again, within a total of `limit_s` (5 s unless told otherwise) counted from the first try:

- any request that never left: the connection was refused;
- any request that was turned away before it was looked at: 429, or 503 with the code `queue_full` or `overloaded`;
- a repeatable one (GET, or with an idempotency key) after a lost reply and after 502, 503 and 504, and a keyed one
  while its first copy is still being worked on (409 `idempotency_key_in_flight`).

Pauses double from 50 ms to 1 s, with jitter; Retry-After is a lower bound. A pause that would end after the limit is
not begun: the caller learns at once, with `retry_after` in the error.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from hegemon.client.calls import Call, Reply, problem, retry_after_s

PAUSE_S_MIN: Final = 0.05
PAUSE_S_MAX: Final = 1.0
_TURNED_AWAY: Final = frozenset({"queue_full", "overloaded"})
_PASSING: Final = frozenset({429, 502, 503, 504})
_SILENT: Final = frozenset({500, 502, 504})  # these do not say what became of the request


@dataclass(frozen=True, slots=True)
class Lost:
    """No reply. `sent` is False when the connection was never made."""

    reason: str
    sent: bool


class Retrying:
    """The tries of one call. `pause(outcome, now)` is the seconds until the next, or None: this was the last."""

    def __init__(self, call: Call[Any], *, limit_s: float, now: float, rng: random.Random) -> None:
        self._call = call
        self._until = now + limit_s
        self._rng = rng
        self._next_s = PAUSE_S_MIN
        self.uncertain = False  # whether any try so far may have been carried out without our being told

    def pause(self, outcome: Reply | Lost, now: float) -> float | None:
        """Judge the try that has just ended."""
        self.uncertain = self.uncertain or _uncertain(outcome)
        if not self._worth_it(outcome):
            return None
        pause = self._next_s * self._rng.uniform(0.5, 1.0)
        self._next_s = min(self._next_s * 2, PAUSE_S_MAX)
        if isinstance(outcome, Reply):
            pause = max(pause, retry_after_s(outcome) or 0.0)
        return pause if now + pause <= self._until else None

    def _worth_it(self, outcome: Reply | Lost) -> bool:
        if isinstance(outcome, Lost):
            return self._call.repeatable or not outcome.sent
        if outcome.status < 400:
            return False
        if self._call.repeatable and outcome.status in _PASSING:
            return True
        code = problem(outcome).code
        if outcome.status == 409:
            return self._call.key is not None and code == "idempotency_key_in_flight"
        return outcome.status == 429 or (outcome.status == 503 and code in _TURNED_AWAY)


def _uncertain(outcome: Reply | Lost) -> bool:
    if isinstance(outcome, Lost):
        return outcome.sent
    return outcome.status in _SILENT or (outcome.status == 503 and problem(outcome).code == "outcome_unknown")
