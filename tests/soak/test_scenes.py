"""The same scenes over many seeds, each a promise about time or about who stays, in virtual time: `tests.simulation`.

`SOAK_FILE` keeps the reports as in `test_simulation`; `SOAK_SCENE_SEEDS` (default 100) is how many runs of each short
scene, a fifth of it of those that last a minute, and a twentieth of those that last ten.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests.simulation.scenarios import SIZES, Report
from tests.soak.conftest import Say
from tests.soak.simulated import HEADING, Case, case_of, kept, row, run_all, shared_out

pytestmark = pytest.mark.soak

SEEDS = int(os.environ.get("SOAK_SCENE_SEEDS", "100"))
FILE = Path(os.environ["SOAK_FILE"]) if "SOAK_FILE" in os.environ else None
ALGORITHMS = ("bully", "raft", "gossip")
SHAPES = ("one_way_out", "one_way_in", "quorum_loss", "constrained_election", "chained")


def runs(case: Case, seeds: range, say: Say, most: int = 10) -> list[Report]:
    """Its reports, none of which breaks a promise that knows no exception."""
    reports = [report for report in kept(FILE) if case_of(report) == case and report.seed in seeds]
    say(f"\n{case}: {len(reports)} of {len(seeds)} are there already")
    reports += run_all(shared_out([case], seeds, done=reports, most=most), FILE, say)
    say(f"{HEADING}\n{row(reports)}")
    failed = [report.command for report in reports if report.violations]
    assert not failed, failed
    return reports


def worst(reports: list[Report], figure: str, most: Callable[..., float] = max) -> float:
    """The greatest of a figure, or the least."""
    return most(report.figures[figure] for report in reports)


def healed_s(reports: list[Report]) -> float:
    """The longest time to one leader after the end of the fault."""
    return max(float("inf") if report.converged_s is None else report.converged_s for report in reports)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_leader_without_a_store_pauses_within_half_a_second_and_gives_up_after_three(
    algorithm: str, say: Say, seed: int
) -> None:
    reports = runs(Case(algorithm, "store_lost"), range(seed, seed + SEEDS), say)
    assert worst(reports, "paused_s") <= 0.5
    assert worst(reports, "gave_up_s", min) >= 3.0
    assert worst(reports, "gave_up_s") <= 3.4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_node_that_does_not_lead_cut_off_and_back_leaves_the_leader_in_99_of_100(
    algorithm: str, say: Say, seed: int
) -> None:
    reports = runs(Case(algorithm, "follower_away"), range(seed, seed + SEEDS), say)
    assert sum(report.figures["kept"] for report in reports) >= 0.99 * SEEDS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_leader_without_peers_stands_down_in_raft_and_stays_elsewhere(algorithm: str, say: Say, seed: int) -> None:
    reports = runs(Case(algorithm, "leader_alone"), range(seed, seed + SEEDS), say)
    if algorithm == "raft":
        assert worst(reports, "stood_down_s") <= 0.5
    else:
        assert worst(reports, "stayed", min) == 1.0
    assert healed_s(reports) <= 2.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_returns_deposes_nobody(algorithm: str, say: Say, seed: int) -> None:
    assert worst(runs(Case(algorithm, "returns"), range(seed, seed + SEEDS), say), "changes") == 0


@pytest.mark.parametrize(("nodes", "scene"), [*product(SIZES, ("most_disks_lost", "votes_lost"))])
def test_no_term_of_an_office_comes_again_though_most_disks_are_lost(
    nodes: int, scene: str, say: Say, seed: int
) -> None:
    reports = runs(Case("raft", scene, nodes), range(seed, seed + SEEDS), say)
    assert worst(reports, "led_s") <= 6.0


@pytest.mark.parametrize(("algorithm", "nodes"), [*product(ALGORITHMS, SIZES)])
def test_in_ten_minutes_of_calm_the_office_never_changes_hands(algorithm: str, nodes: int, say: Say, seed: int) -> None:
    reports = runs(Case(algorithm, "quiet", nodes), range(seed, seed + max(SEEDS // 20, 1)), say, most=1)
    assert worst(reports, "changes") == 0


@pytest.mark.parametrize(("algorithm", "shape"), [*product(ALGORITHMS, SHAPES)])
def test_one_way_and_partial_cuts_leave_a_leader_that_changes_rarely(
    algorithm: str, shape: str, say: Say, seed: int
) -> None:
    reports = runs(Case(algorithm, shape, nodes=5), range(seed, seed + max(SEEDS // 5, 1)), say)
    assert worst(reports, "gap_s") <= 5.0
    assert worst(reports, "changes_a_minute") <= 3.0
    assert healed_s(reports) <= 2.0


@pytest.mark.parametrize(("algorithm", "weather"), [*product(ALGORITHMS, ("wan_loss", "wan_delay"))])
def test_far_apart_or_lossy_the_leader_changes_once_in_ten_minutes_at_most(
    algorithm: str, weather: str, say: Say, seed: int
) -> None:
    reports = runs(Case(algorithm, weather), range(seed, seed + max(SEEDS // 20, 1)), say, most=1)
    assert worst(reports, "changes") <= 1
