"""Simulated clusters, thousands of seeds: every algorithm, every scenario, three to nine nodes, short runs and long.

`./dev soak tests/soak/test_simulation.py`: seeds 1 to 20000, shared out over all cases, in five hours of processor
time; a failing one is printed with the command that replays it. `SOAK_WORKERS` processes at a time (default: one a
core). Any range of seeds is spread over all cases, so that machines, or nights, may share them: `SOAK_SEED=10001
SOAK_SEEDS=10000` is the second half. `SOAK_FILE=reports.jsonl` keeps the reports, and what is in it is not run again.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from tests.simulation.scenarios import ELECTED, RAFT_ALONE, SCENARIOS, SIZES
from tests.soak.conftest import Say
from tests.soak.simulated import HEADING, Case, case_of, kept, run_all, shared_out, table

pytestmark = pytest.mark.soak

SEEDS = int(os.environ.get("SOAK_SEEDS", "20000"))
FILE = Path(os.environ["SOAK_FILE"]) if "SOAK_FILE" in os.environ else None
ALGORITHMS = ("solo", *ELECTED)


def cases() -> list[Case]:
    """All that is simulated."""
    found = []
    for algorithm, scenario in product(ALGORITHMS, SCENARIOS):
        if scenario in RAFT_ALONE and algorithm != "raft":
            continue
        # Where nodes are few, words and shapes matter; where they are many, the stores have more believers at once.
        found += [Case(algorithm, scenario, nodes) for nodes in (SIZES if algorithm != "solo" else (3,))]
        if scenario != "elections":
            found.append(Case(algorithm, scenario, 3, long=True))
    return found


def test_no_seed_breaks_a_promise(seed: int, say: Say) -> None:
    seeds = range(seed, seed + max(SEEDS, len(cases())))
    reports = [report for report in kept(FILE) if case_of(report) in cases() and report.seed in seeds]
    chunks = shared_out(cases(), seeds, done=reports)
    say(f"\nSOAK_SEED={seed} SOAK_SEEDS={len(seeds)}: simulated clusters, {len(reports)} runs are there already")
    reports += run_all(chunks, FILE, say)
    say(HEADING)
    for row in table(reports):
        say(str(row))
    failed = [report for report in reports if report.violations]
    assert not failed, f"{len(failed)} of {len(reports)} runs; the first: {failed[0].command}"
