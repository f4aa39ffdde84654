"""The soaks' figures as pictures: how long nobody led in each scene, how soon simulated clusters agree after a fault.

`python -m tests.soak.plots CLUSTERS.json > CLUSTERS.svg`; with REPORTS.jsonl, one or more, those of the simulation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Figure
from benchmarks.plot import draw
from tests.simulation.scenarios import Report
from tests.soak.simulated import kept, percentiles


def scenes(report: dict[str, Any]) -> str:
    """A bar for each scene and algorithm, all sizes of cluster together, with the least and the longest."""
    found: dict[str, list[float]] = {}
    for scene in sorted(report["scenes"], key=lambda one: (one["scene"], one["algorithm"])):
        found.setdefault(f"{scene['scene']}: {scene['algorithm']}", []).append(scene["gap_s"])
    unit = "seconds without an active leader: median, least and longest"
    return draw("Real clusters, hurt", [Figure(name, unit, gaps) for name, gaps in found.items()], [])


def convergence(reports: Iterable[Report]) -> str:
    """A bar for each scenario and algorithm, all sizes together: most are at one before the last fault is over."""
    found: dict[str, list[float]] = {}
    for report in sorted(reports, key=lambda one: (one.scenario, one.algorithm)):
        if report.converged_s is not None and report.algorithm != "solo":
            found.setdefault(f"{report.scenario}: {report.algorithm}", []).append(report.converged_s)
    unit = "virtual seconds from the end of all faults to one leader: p99, from p50 to the longest"
    figures = [Figure(f"{name} ({len(runs)})", unit, percentiles(runs)) for name, runs in found.items()]
    return draw("Simulated clusters, healed", figures, [])


def main() -> None:
    """The picture of the files named."""
    paths = [Path(name) for name in sys.argv[1:]]
    if paths[0].suffix == ".json":
        sys.stdout.write(scenes(msgspec.json.decode(paths[0].read_bytes())))
    else:
        sys.stdout.write(convergence(report for path in paths for report in kept(path)))


if __name__ == "__main__":
    main()
