"""Simulated clusters under faults, seed by seed: I1 to I4 hold at every step, and one seed is one run.

Twenty seeds a scenario, spread: seed by seed another algorithm, and every third another size of 3, 5 and 9
(`scenarios.turn`), so that nine in a row are all of them. Ten more of three nodes that each believe to lead are the
harshest test of the stores and the office. The soak runs thousands of each.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.runs import simulated, told
from tests.simulation.scenarios import ELECTED, SCENARIOS, SIZES, Report, turn

SEEDS = 20
BELIEVERS = ("pauses", "crashes", "redis", "mongo", "store_cuts", "clocks", "storm")


def judged(reports: list[Report], runs: int = SEEDS, *, jobs: bool = True) -> None:
    """Nothing was violated in so many runs, and there was something to judge."""
    assert not told(reports), told(reports)
    assert len(reports) == runs
    seen = sum((Counter(report.counts) for report in reports), Counter())
    assert seen["offices"] >= runs
    assert not jobs or min(seen["acknowledged"], seen["completed"], seen["started"]) > 15 * runs


@pytest.mark.parametrize("scenario", BELIEVERS)
def test_where_all_believe_nothing_is_lost_run_twice_or_written_by_a_former_leader(scenario: str) -> None:
    judged(simulated("--algorithm", "solo", "--scenario", scenario, "--seeds", SEEDS // 2), SEEDS // 2)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "calm"])
def test_where_one_is_elected_nothing_is_lost_run_twice_or_written_by_a_former_leader(scenario: str) -> None:
    judged(simulated("--in-turn", "--scenario", scenario, "--seeds", SEEDS), jobs=scenario != "elections")


def test_in_calm_the_office_stays_where_it_is() -> None:
    reports = simulated("--in-turn", "--scenario", "calm", "--seeds", SEEDS, "--live")
    judged(reports)
    assert {(report.algorithm, report.nodes) for report in reports} == {(a, n) for a in ELECTED for n in SIZES}


def test_in_calm_one_of_those_who_all_believe_stays_in_office() -> None:
    reports = simulated("--algorithm", "solo", "--scenario", "calm", "--seeds", 5, "--live")
    assert not told(reports), told(reports)


def test_one_seed_is_one_run_whatever_ran_before_it() -> None:
    first, second = (simulated("--in-turn", "--scenario", "storm", "--seed", 3, "--seeds", 3) for _ in range(2))
    assert [report.digest for report in first] == [report.digest for report in second]
    assert len({report.digest for report in first}) == 3
    last = first[-1]
    algorithm, nodes = turn("storm", last.seed)
    assert (last.algorithm, last.nodes) == (algorithm, nodes)
    by_itself = ("--algorithm", algorithm, "--nodes", nodes, "--scenario", "storm", "--seed", last.seed)
    assert [report.digest for report in simulated(*by_itself)] == [last.digest]
