"""What each benchmark is told: where, how often and how large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster import Stores


@dataclass(frozen=True)
class Plan:
    """`rounds` of each measurement; sizes and durations are multiplied by `scale` (`--quick` is 0.1)."""

    stores: Stores
    rounds: int
    scale: float
    cache: Path
    say: Callable[[str], None]

    def size(self, full: int, least: int = 1) -> int:
        """A number of jobs, scaled."""
        return max(round(full * self.scale), least)

    def seconds(self, full: float, least: float = 1.0) -> float:
        """A duration, scaled."""
        return max(full * self.scale, least)
