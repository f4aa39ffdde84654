"""SWIM and Gossip for long: the figures over many rounds, and 200 groups that lose a twentieth of all datagrams."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median, quantiles

import pytest

from tests.election.gossip_cluster import cluster
from tests.election.swim_figures import Figures, lossy_false_deaths, measure

pytestmark = pytest.mark.soak
Say = Callable[[str], None]


def test_joins_and_deaths_among_a_hundred(say: Say, seed: int) -> None:
    joins: list[float] = []
    deaths: list[float] = []
    for part in range(20):
        figures = measure(20, seed=seed + part)
        say(f"{seed + part}: {figures.table()}")
        joins += figures.joins
        deaths += figures.deaths
        assert max(figures.joins) <= 2.0
        assert figures.false == 0
    say(f"all of them: {Figures(joins, deaths, 0).table()}")
    assert median(deaths) <= 10.0
    assert quantiles(deaths, n=100)[98] <= 12.5


def test_two_hundred_lossy_groups_of_fifty_have_no_false_death(say: Say, seed: int) -> None:
    for number in range(200):
        found = lossy_false_deaths(seed + number)
        say(f"{seed + number}: {found} false deaths")
        assert found == 0


@pytest.mark.parametrize("size", [3, 5, 7, 10])
def test_failovers_stay_within_their_time(say: Say, seed: int, size: int) -> None:
    took = []
    for number in range(200):
        net = cluster(size, seed=seed + number)
        net.kill(f"n{size}")
        took.append(net.run_until(lambda net=net: net.agreed(), 3.0))  # type: ignore[misc]  # bound for this round
        if number % 20 == 19:
            say(f"{size} nodes, {number + 1} kills: p50 {median(took):.3f} s, max {max(took):.3f} s")
    assert median(took) <= 0.7
    assert quantiles(took, n=100)[98] <= 1.5


def test_a_lower_node_cut_off_and_back_leaves_the_leader_in_99_of_100(say: Say, seed: int) -> None:
    kept = 0
    for number in range(100):
        net = cluster(3, seed=seed + number)
        begun = net.now
        net.partition("n1", "n2 n3")
        net.run(0.1 + net.random.random() * 20.0)
        net.heal()
        net.run(5.0)
        kept += net.agreed("n3") and not net.wins_since(begun)
    say(f"leader unchanged in {kept} of 100")
    assert kept >= 99
