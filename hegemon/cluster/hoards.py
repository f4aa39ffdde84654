"""Which workers sit on jobs that others could run: a pure judge over what the leader sees of their inboxes.

A live worker that has become slow gives back what it cannot use by itself. One whose loop is blocked by a handler, or
whose process is stopped, cannot; what it has not taken is nobody's claim yet, and is dispatched anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Longer than any healthy worker leaves an inbox alone: it is woken at once, and looks every half second without.
PATIENCE_S: Final = 1.0


class Hoards:
    """One judge, under one office. An inbox is (how many lie in it, which would be taken next)."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._seen: dict[str, tuple[tuple[int, str], float]] = {}
        self._judged_s: float | None = None

    def judge(self, inboxes: Mapping[str, tuple[int, str]], now_s: float) -> list[str]:
        """The workers whose inbox has stood as it is for longer than the patience, as far as this judge has watched."""
        # A judge that was stopped knows nothing of the time between.
        if self._judged_s is None or now_s - self._judged_s > self._patience_s:
            self._seen.clear()
        self._judged_s = now_s
        found = []
        for worker, inbox in inboxes.items():
            before = self._seen.get(worker)
            if before is None or before[0] != inbox:
                self._seen[worker] = (inbox, now_s)
            elif now_s - before[1] > self._patience_s:
                found.append(worker)
        for gone in self._seen.keys() - inboxes.keys():
            del self._seen[gone]
        return found
