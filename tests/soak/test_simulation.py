"""Simulated clusters, thousands of seeds: every algorithm, every scenario, three to seven nodes, short runs and long.

`SOAK_SEEDS=20000 SOAK_SEED=1 ./dev soak -k simulation`: seeds 1 to 20000, shared out over all cases (default 400); a
failing one is printed with the command that replays it. `SOAK_WORKERS` processes at a time (default: one a core).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import msgspec
import pytest

from tests.simulation.scenarios import SCENARIOS, Report
from tests.soak.conftest import Say

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("SOAK_SEEDS", "400"))
WORKERS = int(os.environ.get("SOAK_WORKERS", str(os.cpu_count() or 1)))
CHUNK = 20
ALGORITHMS = ("solo", "bully", "gossip", "raft")
# Where nodes are few, words and shapes matter; where they are many, the stores have more believers at once.
SIZES = {"solo": (3,), "bully": (3, 5, 9), "gossip": (3, 5, 9), "raft": (3, 5, 9)}


def cases() -> list[tuple[str, str, int, bool]]:
    """Algorithm, scenario, nodes, whether for long."""
    found = []
    for algorithm, scenario in product(ALGORITHMS, SCENARIOS):
        if scenario in ("elections", "disks") and algorithm != "raft":
            continue
        for nodes in SIZES[algorithm]:
            found += [(algorithm, scenario, nodes, False)]
        if scenario != "elections":
            found += [(algorithm, scenario, 3, True)]
    return found


def chunk(algorithm: str, scenario: str, nodes: int, long: bool, first: int, count: int) -> list[Report]:
    """Some seeds of a case, in a process of their own."""
    which = ["--algorithm", algorithm, "--scenario", scenario, "--nodes", str(nodes)]
    seeds = ["--seed", str(first), "--seeds", str(count), "--json", "--live", *(["--long"] if long else [])]
    found = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *which, *seeds],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=False,
    )
    assert found.returncode in (0, 1), found.stderr.decode()[-3000:]
    return [msgspec.json.decode(line, type=Report) for line in found.stdout.splitlines()]


def row(name: str, reports: list[Report]) -> str:
    """One line of the table."""
    converged = sorted(report.converged_s for report in reports if report.converged_s is not None)
    middle, worst = (converged[len(converged) // 2], converged[-1]) if converged else (None, None)
    kinds = Counter(kind for report in reports for kind in report.kinds)
    jobs = sum(report.counts.get("acknowledged", 0) for report in reports)
    hours = sum(report.virtual_s for report in reports) / 3600
    offices = sum(report.counts.get("offices", 0) for report in reports)
    found = ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items())) or "none"
    return (
        f"| {name} | {len(reports)} | {hours:.2f} | {jobs} | {offices} | {middle} | {worst} "
        f"| {len(reports) - len(converged)} | {found} |"
    )


def test_no_seed_breaks_a_promise(seed: int, say: Say) -> None:
    say(f"\nSOAK_SEED={seed} SOAK_SEEDS={SEEDS}: simulated clusters")
    say("| case | seeds | virtual hours | jobs | offices | one leader p50 s | max s | > 5 s | violations |")
    say("|---|---|---|---|---|---|---|---|---|")
    all_cases = cases()
    each = max(SEEDS // len(all_cases), 1)
    failed: list[Report] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for place, (algorithm, scenario, nodes, long) in enumerate(all_cases):
            first = seed + place * each
            starts = range(first, first + each, CHUNK)
            counts = [min(CHUNK, first + each - start) for start in starts]
            chunks = [
                pool.submit(chunk, algorithm, scenario, nodes, long, start, count)
                for start, count in zip(starts, counts, strict=True)
            ]
            reports = [report for one in chunks for report in one.result()]
            say(row(f"{algorithm} {scenario} {nodes} nodes{' long' if long else ''}", reports))
            for report in reports:
                if report.violations:
                    failed.append(report)
                    say(f"    {report.violations[0].kind}: {report.violations[0].detail}\n    {report.command}")
    assert not failed, f"{len(failed)} of {each * len(all_cases)} runs; the first: {failed[0].command}"
