"""Simulated clusters under faults, seed by seed: I1 to I4 hold at every step, and one seed is one run."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.runs import simulated, told

SEEDS = 20
# Three nodes that each believe to lead are the harshest test of the stores and the office; the others elect.
CASES = [
    *(("solo", name) for name in ("pauses", "crashes", "redis", "mongo", "store_cuts", "clocks", "storm")),
    *((algorithm, name) for algorithm in ("bully", "gossip", "raft") for name in ("crashes", "network", "storm")),
    ("raft", "disks"),
    ("raft", "elections"),
]


@pytest.mark.parametrize(("algorithm", "scenario"), CASES)
def test_nothing_is_lost_run_twice_or_written_by_a_former_leader(algorithm: str, scenario: str) -> None:
    reports = simulated("--algorithm", algorithm, "--scenario", scenario, "--seeds", SEEDS)
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


def test_one_seed_is_one_run() -> None:
    first, second = (
        simulated("--algorithm", "bully", "--scenario", "storm", "--seed", "3", "--seeds", "2") for _ in range(2)
    )
    assert [report.digest for report in first] == [report.digest for report in second]
    assert first[0].digest != first[1].digest
