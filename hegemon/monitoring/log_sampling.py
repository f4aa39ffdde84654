"""Hot log lines: of each kind the first few in a second are written, the rest is counted and told in one line.

admitted ──first `per_second` of a kind in a second──> written
    └── beyond: counted ──at the end of that second──> one line `lines_suppressed` with `of` and `count`
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

KINDS_MAX: Final = 500
WINDOW_S: Final = 1.0
OTHERS: Final = "(others)"
# Told of a kind: its name, its level, and how many lines were left out.
Tell = Callable[[str, str, int], None]


def _later(action: Callable[[], None]) -> None:
    timer = threading.Timer(WINDOW_S, action)
    timer.name, timer.daemon = "log-sampling", True
    timer.start()


class Sampling:
    """One process's. `admit` may be called in any thread. `per_second` 0 admits everything.

    `later` calls an action after WINDOW_S, in whatever thread; it is asked at most once for each window.
    """

    def __init__(
        self,
        per_second: int,
        tell: Tell,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[Callable[[], None]], None] = _later,
    ) -> None:
        self._per_second = per_second
        self._tell = tell
        self._clock = clock
        self._later = later
        # Reentrant: a line may be written by the collector in the middle of writing another.
        self._lock = threading.RLock()
        self._began = clock()
        self._seen: dict[str, int] = {}
        self._left_out: dict[str, tuple[str, int]] = {}
        self._waiting = False

    def admit(self, kind: str, level: str) -> bool:
        """Whether to write this line. A kind beyond the first KINDS_MAX of a second counts as one of the others."""
        if not self._per_second:
            return True
        with self._lock:
            now = self._clock()
            if now - self._began >= WINDOW_S:
                self._began = now
                self._seen.clear()
            if kind not in self._seen and len(self._seen) >= KINDS_MAX:
                kind = OTHERS
            count = self._seen[kind] = self._seen.get(kind, 0) + 1
            if count <= self._per_second:
                return True
            self._left_out[kind] = (level, self._left_out.get(kind, (level, 0))[1] + 1)
            begin, self._waiting = not self._waiting, True
        if begin:
            self._later(self.flush)
        return False

    def flush(self) -> None:
        """Tell what was left out so far."""
        with self._lock:
            left_out, self._left_out, self._waiting = self._left_out, {}, False
        for kind, (level, count) in left_out.items():
            self._tell(kind, level, count)
