"""Figures of election trials: what is kept of each, quantiles, and the report that goes into a file."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from hegemon.cluster.election_trial import Calm, Round
from hegemon.cluster.trial_load import Verdict
from hegemon.version import VERSION


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured of one algorithm with so many nodes."""

    algorithm: str
    nodes: int
    calm: Calm
    rounds: list[Round]
    verdict: Verdict


def quantile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all are not above (nearest rank). ValueError if there are none."""
    if not values:
        raise ValueError("no values have no quantile")
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, of a number of rounds; None where nothing was seen."""

    detected_p50: float | None
    dispatched_p50: float | None
    dispatched_p99: float | None
    dispatched_max: float | None
    recorded_p50: float | None
    recorded_max: float | None
    gap_max: float | None

    @classmethod
    def of(cls, rounds: Iterable[Round]) -> Figures:
        """The figures of these rounds."""
        rounds = list(rounds)
        detected = [each.detected_s for each in rounds if each.detected_s is not None]
        dispatched = [each.dispatched_s for each in rounds]
        recorded = [each.recorded_s for each in rounds if each.recorded_s is not None]
        return cls(
            detected_p50=quantile(detected, 50) if detected else None,
            dispatched_p50=quantile(dispatched, 50) if dispatched else None,
            dispatched_p99=quantile(dispatched, 99) if dispatched else None,
            dispatched_max=max(dispatched, default=None),
            recorded_p50=quantile(recorded, 50) if recorded else None,
            recorded_max=max(recorded, default=None),
            gap_max=max((each.gap_s for each in rounds), default=None),
        )


def report(cases: Sequence[Case]) -> dict[str, Any]:
    """Everything, for a file: the machine, the raw rounds of each case, and the figures, pooled by algorithm."""
    pooled: dict[str, list[Round]] = {}
    for case in cases:
        pooled.setdefault(case.algorithm, []).extend(case.rounds)
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": VERSION,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "pooled": {name: msgspec.to_builtins(Figures.of(rounds)) for name, rounds in pooled.items()},
        "cases": [
            {**msgspec.to_builtins(case), "figures": msgspec.to_builtins(Figures.of(case.rounds))} for case in cases
        ],
    }
