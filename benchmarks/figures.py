"""What a benchmark hands back: figures with all their rounds, each beside its target."""

from __future__ import annotations

import statistics
from typing import Any, Literal

import msgspec


class Target(msgspec.Struct, frozen=True):
    """A bound that a figure's median is held against."""

    bound: Literal[">=", "<="]
    value: float

    def met(self, value: float) -> bool:
        """Whether `value` keeps it; a value that is not a number does not."""
        return value >= self.value if self.bound == ">=" else value <= self.value


class Figure(msgspec.Struct, frozen=True):
    """One measured quantity: a value for each round. `detail` is a remark for the table."""

    name: str
    unit: str
    rounds: list[float]
    target: Target | None = None
    detail: str = ""

    @property
    def median(self) -> float:
        """The value that stands for the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest round."""
        return min(self.rounds), max(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the target; None without one."""
        return None if self.target is None else self.target.met(self.median)


class Series(msgspec.Struct, frozen=True):
    """A curve over time, in seconds."""

    name: str
    unit: str
    points: list[tuple[float, float]]


class Findings(msgspec.Struct, frozen=True):
    """All that one benchmark found. `raw` is whatever else may be of use later, JSON-able."""

    figures: list[Figure]
    raw: dict[str, Any] = {}
    series: list[Series] = []


def at_least(value: float) -> Target:
    """The figure must reach `value`."""
    return Target(">=", value)


def at_most(value: float) -> Target:
    """The figure must not exceed `value`."""
    return Target("<=", value)


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]
