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


@pytest.mark.parametrize("scene", ["most_disks_lost", "votes_lost"])
def test_whoever_lost_its_disk_goes_on_above_the_term_of_the_office_though_nobody_tells_it(scene: str) -> None:
    """The judge's kinds are `two_leaders` and `term_fell`."""
    for nodes, seeds in ((3, 2), (5, 1)):
        reports = simulated("--algorithm", "raft", "--nodes", nodes, "--scenario", scene, "--seeds", seeds, "--live")
        assert not told(reports), told(reports)
        assert all(report.figures["led_s"] < 6.0 for report in reports)
        # Where not all are heard, and no majority is blank, ELECTION_TIMEOUT has to pass.
        assert scene != "votes_lost" or all(report.figures["led_s"] > 3.0 for report in reports)


@ALGORITHMS
def test_in_calm_the_office_stays_where_it_is_for_longer(algorithm: str) -> None:
    """Ten minutes of it, and more nodes, are the soak's."""
    reports = simulated("--algorithm", algorithm, "--scenario", "quiet", "--seconds", 20)
    assert not told(reports), told(reports)
    assert [report.figures["changes"] for report in reports] == [0]
    assert reports[0].figures["gap_s"] <= 0.2


@pytest.mark.parametrize(
    ("scenes", "seconds"),
    [
        (("one_way_out", "one_way_in", "quorum_loss", "constrained_election", "chained"), 3),
        (("store_lost", "follower_away", "leader_alone", "returns", "suspected"), 4),
    ],
    ids=["cuts", "others"],
)
def test_whatever_the_scene_nothing_is_lost_or_run_twice(scenes: tuple[str, ...], seconds: int) -> None:
    """Four seeds of each, which are Bully of 3 and of 5, Gossip of 5 and Raft of 9 nodes."""
    names = [word for name in scenes for word in ("--scenario", name)]
    reports = simulated("--in-turn", *names, "--seconds", seconds, "--seed", 3, "--seeds", 4, "--step", 5)
    assert not told(reports), told(reports)
    ran = {(report.algorithm, report.nodes) for report in reports}
    assert ran == {("bully", 3), ("bully", 5), ("gossip", 5), ("raft", 9)}
    assert len(reports) == 4 * len(scenes)
    assert min(report.counts["acknowledged"] for report in reports) > 0
