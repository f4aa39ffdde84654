"""Promises about time, kept in virtual time: who pauses, gives up or stays, and how soon. The soak has more seeds."""

from __future__ import annotations

import pytest

from tests.simulation.runs import simulated, told

ALGORITHMS = pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])


@ALGORITHMS
def test_a_leader_without_a_store_pauses_at_once_and_gives_up_after_three_seconds(algorithm: str) -> None:
    reports = simulated("--algorithm", algorithm, "--scenario", "store_lost", "--seed", 5, "--seeds", 3)
    assert not told(reports), told(reports)
    for report in reports:
        assert 0.0 < report.figures["paused_s"] <= 0.5, report.command
        assert 3.0 <= report.figures["gave_up_s"] <= 3.4, report.command
        assert report.figures["gave_up_s"] < report.figures["succeeded_s"] <= 4.0, report.command


@ALGORITHMS
def test_a_leader_cut_off_from_its_peers_stands_down_at_once_in_raft_and_stays_elsewhere(algorithm: str) -> None:
    reports = simulated("--algorithm", algorithm, "--scenario", "leader_alone", "--seeds", 2)
    assert not told(reports), told(reports)
    for report in reports:
        assert bool(report.figures["stayed"]) == (algorithm != "raft"), report.command
        assert algorithm != "raft" or report.figures["stood_down_s"] <= 0.5, report.command
        assert report.converged_s is not None, report.command
        assert report.converged_s <= 2.0, report.command


@ALGORITHMS
def test_far_apart_or_lossy_nothing_is_lost_or_run_twice(algorithm: str) -> None:
    """With the settings that the guide recommends for it; how often the leader changes is the soak's to count."""
    far = ("--scenario", "wan_loss", "--scenario", "wan_delay", "--seconds", 20)
    reports = simulated("--algorithm", algorithm, *far, "--seeds", 1)
    assert not told(reports), told(reports)
    assert [report.scenario for report in reports] == ["wan_loss", "wan_delay"]
    assert min(report.counts["completed"] for report in reports) > 20
