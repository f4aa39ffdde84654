"""Gossip succeeds a dead leader fast, an orderly one at once, and never one that is healthy."""

from __future__ import annotations

from statistics import median

import pytest

from hegemon.election.contract import Fitness, Received, Role
from hegemon.election.gossip_messages import Ask, Beat, HandOver
from hegemon.election.swim_messages import encode
from tests.election.gossip_cluster import cluster, leader_of


def test_the_best_leads_in_the_first_term_and_nobody_wins_beside_it() -> None:
    net = cluster(5)
    assert leader_of(net) == "n5"
    assert [what for _, _, what, _ in net.changes] == ["won"]


@pytest.mark.parametrize("size", [3, 5, 7, 10])
def test_a_killed_leader_is_succeeded_within_its_silence_and_little_more(size: int) -> None:
    took = []
    for seed in range(8):
        net = cluster(size, seed=seed)
        net.kill(f"n{size}")
        took.append(net.run_until(lambda net=net, size=size: net.agreed(f"n{size - 1}"), 3.0))  # type: ignore[misc]  # bound for this round
    assert median(took) <= 0.5
    assert max(took) <= 0.75


def test_leader_and_next_in_rank_killed_together_are_succeeded() -> None:
    net = cluster(5)
    net.kill("n5", "n4")
    assert net.run_until(lambda: net.agreed("n3"), 3.0) <= 1.2


def test_a_resigned_leader_is_succeeded_at_once_by_the_one_it_names() -> None:
    for seed in range(5):
        net = cluster(5, seed=seed)
        net.resign("n5")
        assert net.run_until(lambda net=net: net.leaders == ["n4"] and net.agreed("n4"), 1.0) <= 0.1  # type: ignore[misc]  # bound for this round


@pytest.mark.parametrize("fit", [True, False])
def test_a_successor_that_has_reached_no_store_for_long_leaves_the_lead_to_others(fit: bool) -> None:
    net = cluster(3)
    n2 = net.nodes["n2"].watched
    assert n2 is not None
    # What it says from now on is lost: nobody knows of its stores.
    n2.handle(Fitness(fit), net.now)
    now = net.now
    for count in range(1000, 1040):
        now += 0.1
        n2.handle(Received("n3", encode(Beat(n2.elector.view.term, "n3", count, True))), now)
        n2.handle(Received("n1", encode(Ask())), now)
    n2.handle(Received("n3", encode(HandOver(n2.elector.view.term, "n2")), stream=True), now)
    assert n2.leading is fit


def test_a_step_down_lasts_and_the_leader_of_the_meantime_stays() -> None:
    net = cluster(3)
    net.resign("n3", pause_s=2.0)
    net.run_until(lambda: net.agreed("n2"), 1.0)
    net.run(10.0)
    assert net.leaders == ["n2"]
    assert net.roles()["n3"] is Role.FOLLOWER


def test_a_returning_better_node_does_not_depose_a_healthy_leader() -> None:
    net = cluster(3)
    net.kill("n3")
    net.run_until(lambda: net.agreed("n2"), 3.0)
    net.run(2.0)
    before = len(net.changes)
    net.start("n3")
    net.run(10.0)
    assert net.agreed("n2")
    assert len(net.changes) == before


def test_a_leader_restarted_within_its_silence_does_not_lead_unelected() -> None:
    net = cluster(3)
    net.kill("n3")
    net.start("n3")
    net.run_until(lambda: len(net.leaders) == 1 and net.agreed(), 3.0)
    terms = [term for _, _, what, term in net.changes if what == "won"]
    assert terms == sorted(set(terms))


def test_calm_makes_no_change_in_ten_minutes() -> None:
    net = cluster(3)
    before = len(net.changes)
    net.run(600.0)
    assert len(net.changes) == before


def test_a_fifth_of_all_datagrams_lost_makes_at_most_one_change_in_ten_minutes() -> None:
    net = cluster(3, loss=0.2, seed=3)
    before = len(net.changes)
    net.run(600.0)
    assert len(net.changes) - before <= 2
