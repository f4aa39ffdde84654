"""Refusals in the audit log: who knocks without end must fill neither the log nor its buffer.

Of one kind (address and code) the first in a window is recorded; the next one recorded says how many were left out.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

WINDOW_S: Final = 10.0
KINDS_MAX: Final = 1000
RATE: Final = 20.0
BURST: Final = 100.0


class RefusalSampler:
    """Says which refusals are recorded: at most one of a kind in `WINDOW_S`, at most `RATE` a second of all kinds."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._tokens = BURST
        self._filled_s = 0.0
        self._left_out = 0

    def admit(self, address: str, code: str, now_s: float) -> int | None:
        """None: leave it out. Else record it; the number is how many were left out since the last record."""
        kind = (address, code)
        since_s, left_out = self._kinds.get(kind, (float("-inf"), 0))
        if now_s - since_s < WINDOW_S:
            self._kinds[kind] = (since_s, left_out + 1)
            return None
        self._tokens = min(BURST, self._tokens + (now_s - self._filled_s) * RATE) if self._filled_s else BURST
        self._filled_s = now_s
        if self._tokens < 1.0:
            self._left_out += 1
            return None
        self._tokens -= 1.0
        self._kinds[kind] = (now_s, 0)
        self._kinds.move_to_end(kind)
        while len(self._kinds) > KINDS_MAX:
            _, (_, forgotten) = self._kinds.popitem(last=False)
            self._left_out += forgotten
        total, self._left_out = left_out + self._left_out, 0
        return total
