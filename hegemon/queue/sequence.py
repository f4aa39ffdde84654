"""`seq`: the place of a job within its queue and priority: first in, first out; a retry goes by its due time."""

from __future__ import annotations


class SeqSource:
    """Numbers that give FIFO within a priority: thousandths of a ms of the cluster clock, only growing in a process.
    They stay below 2**53, so that Lua and sorted sets compare them exactly."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def next(self, now_ms: int) -> int:
        """A number for something eligible from `now_ms`."""
        self._last = max(self._last + 1, now_ms * 1000)
        return self._last


def due_seq(due_ms: int) -> int:
    """The number of something eligible from a later time."""
    return due_ms * 1000
