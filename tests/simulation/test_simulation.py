"""Simulated clusters under faults, seed by seed: I1 to I4 hold at every step, and one seed is one run.

Each case is a process of its own, whose hashes are pinned, so that a failing seed replays everywhere; the failure says
how.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.simulation.scenarios import Report

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 20
# Three nodes that each believe to lead are the harshest test of the stores and the office; the others elect.
CASES = [
    *(("solo", name) for name in ("pauses", "crashes", "redis", "mongo", "store_cuts", "clocks", "storm")),
    *((algorithm, name) for algorithm in ("bully", "gossip", "raft") for name in ("crashes", "network", "storm")),
    ("raft", "disks"),
    ("raft", "elections"),
]
# What each safeguard is good for, and how soon its absence must show. That votes must outlive a crash is shown on
# faster ground: tests/cluster/test_raft_elections.py. What belongs to one elector is switched off in tests/election.
SAFEGUARDS = {
    "fence": ({"stale_write"}, ("solo", "storm", 30)),
    "majority": ({"missing", "two_holders", "epoch_fell", "undone"}, ("solo", "mongo", 30)),
    "run_id": ({"started_after", "stale_write", "started_twice"}, ("solo", "redis", 60)),
    "lease": ({"started_late"}, ("solo", "pauses", 30)),
    "quorum": ({"two_leaders"}, ("raft", "elections", 30)),
}


def simulated(*arguments: str) -> list[Report]:
    """The reports of a run."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=False,
        timeout=900,
    )
    assert found.returncode in (0, 1), found.stderr.decode()[-3000:]
    return [msgspec.json.decode(line, type=Report) for line in found.stdout.splitlines()]


def told(reports: list[Report]) -> str:
    """What went wrong, and how to see it again."""
    return "\n".join(
        f"{report.command}\n    " + "\n    ".join(f"{v.at_s} s: {v.kind}: {v.detail}" for v in report.violations[:5])
        for report in reports
        if report.violations
    )


@pytest.mark.parametrize(("algorithm", "scenario"), CASES)
def test_nothing_is_lost_run_twice_or_written_by_a_former_leader(algorithm: str, scenario: str) -> None:
    reports = simulated("--algorithm", algorithm, "--scenario", scenario, "--seeds", str(SEEDS))
    assert not told(reports), told(reports)
    assert len(reports) == SEEDS
    # There was something to judge.
    seen = sum((Counter(report.counts) for report in reports), Counter())
    assert seen["offices"] >= SEEDS
    assert scenario == "elections" or min(seen["acknowledged"], seen["completed"], seen["started"]) > 15 * SEEDS


@pytest.mark.parametrize("algorithm", ["solo", "bully", "gossip", "raft"])
def test_in_calm_the_office_stays_where_it_is(algorithm: str) -> None:
    reports = simulated("--algorithm", algorithm, "--scenario", "calm", "--seeds", "5", "--live")
    assert not told(reports), told(reports)


@pytest.mark.parametrize("safeguard", SAFEGUARDS)
def test_without_a_safeguard_a_simulated_cluster_fails(safeguard: str) -> None:
    kinds, (algorithm, scenario, seeds) = SAFEGUARDS[safeguard]
    which = ("--algorithm", algorithm, "--scenario", scenario, "--seeds", str(seeds))
    reports = simulated("--without", safeguard, *which, "--until-found")
    assert reports[-1].kinds & kinds, f"{seeds} seeds without the {safeguard} and nothing was found"


def test_one_seed_is_one_run() -> None:
    first, second = (
        simulated("--algorithm", "bully", "--scenario", "storm", "--seed", "3", "--seeds", "2") for _ in range(2)
    )
    assert [report.digest for report in first] == [report.digest for report in second]
    assert first[0].digest != first[1].digest
