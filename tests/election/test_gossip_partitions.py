"""Gossip under cuts: a leader that the store shows is not succeeded, one that it does not show is, healing leaves one,
and no cut makes the leadership flap. A safeguard that is switched off fails here."""

from __future__ import annotations

import itertools

import pytest

from hegemon.election.contract import Health, Member, Role
from hegemon.election.gossip import Gossip
from hegemon.election.gossip_reign import better_than
from tests.election.gossip_cluster import cluster, leader_of
from tests.election.virtual_network import VirtualNetwork


class Eager(Gossip):
    """Stickiness off: whoever outranks the leader behaves as if it missed it."""

    def _misses(self, now: float) -> bool:
        leader = self._missed()
        return super()._misses(now) or (leader is not None and self._me > leader)


def changes_in(net: VirtualNetwork, for_s: float) -> int:
    begun = net.now
    net.run(for_s)
    return len(net.wins_since(begun))


def test_a_leader_cut_off_from_its_peers_stays_while_the_store_shows_it() -> None:
    net = cluster(3)
    net.partition("n3", "n1 n2")
    assert changes_in(net, 30.0) == 0
    assert net.leaders == ["n3"]
    assert net.beliefs() == dict.fromkeys(net.nodes, "n3")


def test_a_leader_cut_off_from_peers_and_store_is_succeeded_and_yields_within_two_seconds_of_healing() -> None:
    for seed in range(5):
        net = cluster(3, seed=seed)
        net.partition("n3", "n1 n2")
        net.reach_store("n3", reaches=False)
        assert net.run_until(lambda net=net: net.agreed("n2", among=["n1", "n2"]), 3.0) <= 1.0  # type: ignore[misc]  # bound for this round
        assert net.leaders == ["n2", "n3"]  # both believe; one holds the office
        net.run(20.0)
        assert net.leaders == ["n2"]  # without a store for so long, it has given up
        net.heal()
        net.reach_store("n3", reaches=True)
        assert net.run_until(lambda net=net: net.agreed("n2"), 2.0) <= 2.0  # type: ignore[misc]  # bound for this round


@pytest.mark.parametrize("apart_s", [0.7, 1.5, 5.0, 30.0])
@pytest.mark.parametrize("told_s", [0.0, 1.0])
def test_a_follower_cut_off_from_peers_and_store_deposes_nobody_on_its_return(apart_s: float, told_s: float) -> None:
    """A node is told only some time after the last answer that it reaches no store, and elects nobody meanwhile."""
    net = cluster(3)
    begun = net.now
    net.partition("n2", "n1 n3")
    net.nodes["n2"].store = False
    net.run(min(told_s, apart_s))
    if apart_s > told_s:
        net.reach_store("n2", reaches=False)
        net.run(apart_s - told_s)
    net.heal()
    net.reach_store("n2", reaches=True)
    net.run(10.0)
    assert net.wins_since(begun) == []
    assert net.agreed("n3")


@pytest.mark.parametrize("apart_s", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("sides", ["n1 n2 | n3 n4 n5", "n5 | n1 n2 n3 n4", "n1 n3 n5 | n2 n4"])
def test_two_sides_without_a_store_have_a_leader_each_and_one_within_two_seconds_of_healing(
    sides: str, apart_s: float
) -> None:
    net = cluster(5, witness=False, seed=int(apart_s))
    groups = [side.split() for side in sides.split("|")]
    net.partition(*sides.split("|"))
    for group in groups:
        net.run_until(lambda group=group: net.agreed(among=group), 5.0)  # type: ignore[misc]  # bound for this round
    net.run(apart_s)
    assert len(net.leaders) == 2
    net.heal()
    net.run_until(net.agreed, 2.0)
    assert changes_in(net, 20.0) == 0
    health = {m.health for node in net.nodes.values() if node.watched for m in node.watched.elector.view.members}
    assert health == {Health.ALIVE}


def shapes(leader: str = "n5") -> dict[str, set[tuple[str, str]]]:
    """The cuts by name: one-way, and the three partial ones, in a cluster of five."""
    names = [f"n{number}" for number in range(1, 6)]
    pairs = set(itertools.permutations(names, 2))
    chain = {frozenset(pair) for pair in itertools.pairwise(["n5", "n1", "n4", "n2", "n3"])}
    return {
        "the leader is not heard by one": {(leader, "n1")},
        "the leader does not hear one": {("n1", leader)},
        "the leader is heard by nobody": {(leader, name) for name in names},
        "the leader hears nobody": {(name, leader) for name in names},
        "one hears nobody": {(name, "n2") for name in names},
        "quorum loss: only n1 is connected to all": {pair for pair in pairs if "n1" not in pair},
        "constrained election: the leader reaches n1 alone": {p for p in pairs if leader in p and "n1" not in p},
        "chained": {pair for pair in pairs if frozenset(pair) not in chain},
    }


@pytest.mark.parametrize("witness", [True, False], ids=["store", "no store"])
@pytest.mark.parametrize("shape", shapes())
def test_under_a_cut_there_is_a_leader_and_no_flapping(shape: str, witness: bool) -> None:
    net = cluster(5, witness=witness)
    net.cuts = shapes()[shape]
    net.run(5.0)
    assert net.leaders
    assert changes_in(net, 60.0) <= 3
    assert net.leaders
    net.heal()
    net.run_until(net.agreed, 2.0)


@pytest.mark.parametrize("shape", shapes())
def test_a_leader_killed_under_a_cut_is_succeeded_within_five_seconds(shape: str) -> None:
    net = cluster(5)
    net.cuts = shapes()[shape]
    net.run(5.0)
    killed = leader_of(net)
    net.kill(killed)
    net.run_until(lambda: len(net.leaders) >= 1, 5.0)
    assert killed not in net.leaders


@pytest.mark.parametrize("reaches", [True, False], ids=["cut off from peers", "cut off from all"])
def test_a_node_cut_off_and_back_leaves_the_leader_as_it_is(reaches: bool) -> None:
    net = cluster(3)
    for lasting_s in (0.2, 1.0, 5.0, 40.0):
        begun = net.now
        net.partition("n1", "n2 n3")
        if not reaches:
            net.reach_store("n1", reaches=False)
        net.run(lasting_s)
        net.heal()
        net.reach_store("n1", reaches=True)
        net.run(5.0)
        assert net.wins_since(begun) == []
        assert net.agreed("n3")


@pytest.mark.parametrize("stopped_s", [0.2, 1.0, 5.0, 30.0])
def test_a_follower_stopped_and_continued_changes_nothing(stopped_s: float) -> None:
    net = cluster(3, witness=False)
    net.stop("n2")
    begun = net.now
    net.run(stopped_s)
    net.resume("n2")
    net.run(10.0)
    assert net.wins_since(begun) == []
    assert net.agreed("n3")


@pytest.mark.parametrize("stopped_s", [2.0, 30.0])
def test_a_leader_stopped_and_continued_follows_its_successor_within_two_seconds(stopped_s: float) -> None:
    net = cluster(3)
    net.stop("n3")
    net.run(stopped_s)
    assert net.roles()["n2"] is Role.LEADER
    net.resume("n3")
    net.run_until(lambda: net.agreed("n2"), 2.0)
    assert changes_in(net, 10.0) == 0


def test_an_unfit_leader_hands_over_after_its_time_and_an_unfit_node_is_not_elected() -> None:
    net = cluster(3)
    net.reach_store("n2", reaches=False)
    net.run(1.0)
    net.reach_store("n3", reaches=False)
    net.run(2.5)
    assert net.leaders == ["n3"]
    assert net.run_until(lambda: net.agreed("n1"), 2.0) <= 1.0
    net.reach_store("n3", reaches=True)
    net.reach_store("n2", reaches=True)
    assert changes_in(net, 10.0) == 0


def test_an_unfit_leader_stays_while_nobody_is_fit() -> None:
    net = cluster(3)
    for name in net.nodes:
        net.reach_store(name, reaches=False)
    assert changes_in(net, 20.0) == 0
    assert net.leaders == ["n3"]


def test_a_leader_that_lost_its_office_is_succeeded_by_another() -> None:
    net = cluster(3)
    net.lose_office("n3")
    net.run_until(lambda: net.agreed("n2"), 1.0)
    assert changes_in(net, 10.0) == 0


def test_with_stickiness_off_a_returning_better_node_deposes_the_leader() -> None:
    for kind, expected in ((Gossip, "n2"), (Eager, "n3")):
        net = cluster(3, kind=kind)
        net.kill("n3")
        net.run_until(lambda net=net: net.agreed("n2"), 3.0)  # type: ignore[misc]  # bound for this round
        net.run(2.0)
        net.start("n3")
        net.run(10.0)
        assert net.leaders[-1] == expected


@pytest.mark.parametrize(
    "shape", ["the leader is not heard by one", "constrained election: the leader reaches n1 alone"]
)
def test_who_does_not_hear_the_leader_lives_by_the_word_of_who_does(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wins() -> list[str]:
        net = cluster(5, witness=False)
        net.cuts = shapes()[shape]
        begun = net.now
        net.run(20.0)
        return net.wins_since(begun)

    assert wins() == []
    monkeypatch.setattr(Gossip, "_on_vouch", lambda *_: None)
    assert wins() != []


def test_who_wakes_after_a_pause_listens_before_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def stands() -> bool:
        net = cluster(3, witness=False)
        net.stop("n2")
        net.run(30.0)
        net.nodes["n2"].backlog = []
        net.resume("n2")
        return net.roles()["n2"] is Role.CANDIDATE

    assert not stands()
    monkeypatch.setattr(Gossip, "_notice_lateness", lambda *_: None)
    assert stands()


def test_the_better_go_first() -> None:
    members = [
        Member(f"n{number}", fit=number != 4, health=[*Health, Health.ALIVE][number % 5]) for number in range(10)
    ]
    places = {me.id: better_than(me, members, without="n9") for me in members if me.health is Health.ALIVE}
    assert places == {"n9": 0, "n5": 0, "n0": 1, "n4": 2}
