"""Raft under partial networks: whoever can reach a majority both ways comes to lead, and it stays calm."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from hegemon.election.contract import Lost
from tests.cluster.raft_network import RaftNetwork

Shape = Callable[[RaftNetwork, str], None]


def leader_out(net: RaftNetwork, leader: str) -> None:
    """The others do not hear the leader, it hears them."""
    net.cut([leader], net.voters, both=False)


def leader_in(net: RaftNetwork, leader: str) -> None:
    """The leader hears nobody, and is heard."""
    net.cut(net.voters, [leader], both=False)


def leader_to_one(net: RaftNetwork, leader: str) -> None:
    net.cut([leader], net.followers()[:1], both=False)


def one_to_leader(net: RaftNetwork, leader: str) -> None:
    net.cut(net.followers()[:1], [leader], both=False)


def deaf_follower(net: RaftNetwork, leader: str) -> None:
    net.cut(net.voters, net.followers()[:1], both=False)


def mute_follower(net: RaftNetwork, leader: str) -> None:
    net.cut(net.followers()[:1], net.voters, both=False)


def quorum_loss(net: RaftNetwork, leader: str) -> None:
    """The leader and all others reach one hub only."""
    hub = net.rng.choice(net.followers())
    net.only((hub, name) for name in net.voters)


def constrained_election(net: RaftNetwork, leader: str) -> None:
    """The leader is gone, and the only hub missed its election: with a log for ever, the hub's would be behind."""
    hub = net.rng.choice(net.followers())
    net.isolate(hub)
    net.crash(leader)
    assert net.run(5.0, lambda: net.leader() is not None)
    net.start(leader)
    net.run(1.0)
    rest = [name for name in net.voters if name != net.leader()]
    net.only((hub, name) for name in rest)


def chained(net: RaftNetwork, leader: str) -> None:
    """Each reaches its neighbours only, and the leader stands at an end."""
    chain = [leader, *net.followers()]
    net.only(pairwise(chain))


ONE_WAY: list[Shape] = [leader_out, leader_in, leader_to_one, one_to_leader, deaf_follower, mute_follower]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("size", "shape"),
    [
        *((3, shape) for shape in ONE_WAY),
        *((5, shape) for shape in ONE_WAY),
        (5, quorum_loss),
        (5, constrained_election),
        (3, chained),
        (5, chained),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_a_leader_within_five_seconds_and_at_most_three_changes_a_minute(size: int, shape: Shape, seed: int) -> None:
    net = RaftNetwork(size, seed=seed)
    with net.running():
        leader = net.settle()
        net.run(1.0)
        shape(net, leader)
        net.run(0.5)  # a leader that lost its majority has stood down by then
        assert net.run(4.5, lambda: net.leader() is not None)
        before = len(net.won)
        net.run(15.0)
        assert net.leader() is not None
        assert len(net.won) == before, "in twice the time of any election there was a change"
        net.heal()
        assert net.run(2.0, net.settled)


@pytest.mark.parametrize("size", [3, 5, 7])
def test_a_leader_that_is_cut_off_stands_down_within_half_a_second_and_healing_gives_one_leader(size: int) -> None:
    net = RaftNetwork(size)
    with net.running():
        leader = net.settle()
        net.run(1.0)
        net.isolate(leader)
        at = net.now
        net.run(3.0)
        lost = [when for when, effect in net.machines[leader].history if isinstance(effect, Lost)]
        assert len(lost) == 1
        assert lost[0] - at <= 0.5
        assert net.leader() not in (None, leader)
        successor = net.leader()
        net.heal()
        assert net.run(2.0, net.settled)
        assert net.leader() == successor


@pytest.mark.parametrize("minority", [1, 2])
def test_a_minority_elects_nobody_and_its_term_stands_still(minority: int) -> None:
    net = RaftNetwork(5)
    with net.running():
        leader = net.settle()
        apart = net.followers()[:minority]
        net.cut(apart, [name for name in net.voters if name not in apart])
        terms = net.terms()
        net.run(10.0)
        assert net.leader() == leader
        assert net.terms() == terms


def test_a_node_ahead_of_the_leaders_term_is_not_deaf_to_it_for_ever() -> None:
    """PySyncObj alone would ignore a leader of an earlier term, and be ignored: our frames carry the term."""
    net = RaftNetwork(3)
    with net.running():
        leader = net.settle()
        ahead = net.followers()[0]
        net.isolate(ahead)
        net.run(0.1)
        net.machines[ahead].library.adopt(net.terms()[leader] + 5, leader)
        net.run(2.0)
        net.heal()
        assert net.run(2.0, net.settled)
        assert min(net.terms().values()) >= 6
