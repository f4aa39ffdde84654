"""Each safeguard taken away by itself: what it guards against then happens, and with it in place does not."""

from __future__ import annotations

import pytest

from hegemon.election import bully_messages as wire
from hegemon.election.bully import Bully
from hegemon.election.bully_belief import Belief, Voice
from hegemon.election.bully_roster import Peer, Roster
from hegemon.election.contract import Fitness, Member, Received, Role, Tick, Timing, precedence
from tests.election.bully_peers import Peers
from tests.election.virtual_network import VirtualNetwork


class Unwitnessed(Bully):
    def _is_witnessed(self, leader: Peer) -> bool:
        return False


class Undated(Bully):
    def _is_outdated(self, peer: Peer, incarnation: int) -> bool:
        return False


class Greedy(Bully):
    """Takes over from a healthy leader, and hands over, whatever it was told of preemption."""

    def __init__(self, me: Member, *, timing: Timing, preempt: bool = True, expected: int = 1) -> None:
        super().__init__(me, timing=timing, preempt=True, expected=expected)


class Careless(Bully):
    """Fitness counts for nothing."""

    def _key(self, member: Member) -> tuple[bool, tuple[int, tuple[tuple[int, int, str], ...]]]:
        return (True, precedence(member))


class Sleepless(Bully):
    """Believes to have listened all the time."""

    def _has_been_away(self, away_s: float) -> bool:
        return False


def network(make: type[Bully], count: int = 3, *, preempt: bool = True, witness: bool = True) -> VirtualNetwork:
    cluster = VirtualNetwork(
        lambda me: make(me, timing=Timing(), preempt=preempt, expected=count - 1),
        [Member(f"n{number}") for number in range(1, count + 1)],
        witness=witness,
    )
    cluster.start()
    cluster.run(2.0)
    assert cluster.agreed(f"n{count}")
    return cluster


def guarded(make: type[Bully]) -> bool:
    return make is Bully


@pytest.mark.parametrize("make", [Bully, Unwitnessed])
def test_the_store_as_a_witness_keeps_a_leader_that_is_only_cut_off(make: type[Bully]) -> None:
    cluster = network(make)
    begun = cluster.now
    cluster.partition("n3", "n1 n2")
    cluster.run(3.0)
    assert (cluster.wins_since(begun) == []) is guarded(make)


@pytest.mark.parametrize("make", [Bully, Undated])
def test_the_incarnation_keeps_words_of_the_dead_from_ruling(make: type[Bully]) -> None:
    peers = Peers("n3", ["n5"], leader="n5", make=make)
    for _ in range(50):
        peers.payload("n5", wire.Beat)  # the old life has said much
    stale = peers.payload("n5", wire.Coordinator, leads=99)
    peers.incarnations["n5"], peers.seqs["n5"], peers.leader = 2, 0, None
    peers.hear("n5")
    peers.give(Received("n5", stale))
    assert (peers.bully.view.leader != "n5") is guarded(make)


@pytest.mark.parametrize("make", [Bully, Greedy])
def test_without_preemption_a_healthy_leader_stays(make: type[Bully]) -> None:
    cluster = network(make, preempt=False)
    cluster.kill("n3")
    cluster.run(2.0)
    cluster.start("n3")
    cluster.run(3.0)
    assert cluster.agreed("n2") is guarded(make)


@pytest.mark.parametrize("make", [Bully, Careless])
def test_fitness_keeps_who_cannot_schedule_from_leading(make: type[Bully]) -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5", make=make)
    peers.give(Fitness(fit=False))
    peers.leader_dies("n5")
    assert (peers.role is not Role.LEADER) is guarded(make)


@pytest.mark.parametrize("make", [Bully, Sleepless])
def test_listening_after_a_pause_keeps_a_node_from_declaring_the_living_dead(make: type[Bully]) -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5", make=make)
    peers.now += 30.0
    peers.give(Tick())
    assert (peers.bully.view.leader == "n5") is guarded(make)


@pytest.mark.parametrize("safe", [True, False])
def test_followers_keep_a_node_that_elected_itself_alone_from_deposing_the_leader(
    safe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not safe:
        monkeypatch.setattr(Roster, "follows_us", False)
    cluster = network(Bully, witness=False, preempt=False)
    cluster.partition("n1", "n2 n3")
    cluster.run(5.0)
    cluster.heal()
    cluster.run(3.0)
    assert cluster.agreed("n3") is safe


@pytest.mark.parametrize("safe", [True, False])
def test_the_stores_keep_one_of_two_that_was_cut_off_from_deposing_the_other(
    safe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not safe:
        monkeypatch.setattr(Belief, "take_fitness", lambda *_: None)
    cluster = network(Bully, 2, preempt=False)
    cluster.partition("n1", "n2")
    cluster.reach_store("n1", reaches=False)
    cluster.run(5.0)
    cluster.reach_store("n1", reaches=True)
    cluster.heal()
    cluster.run(3.0)
    assert cluster.agreed("n2") is safe


@pytest.mark.parametrize("safe", [True, False])
def test_claims_passed_on_keep_a_leader_that_only_some_hear(safe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not safe:
        monkeypatch.setattr(Peer, "hear_of", lambda *_: False)
    cluster = network(Bully, witness=False)
    begun = cluster.now
    cluster.cut("n3", "n2")
    cluster.run(5.0)
    assert (cluster.wins_since(begun) == []) is safe


@pytest.mark.parametrize("safe", [True, False])
def test_setbacks_keep_the_lead_from_flapping_with_a_store(safe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not safe:
        monkeypatch.setattr(Belief, "set_back", lambda *_, **__: None)
    cluster = network(Bully)
    begun = cluster.now
    for _ in range(6):
        cluster.reach_store("n3", reaches=False)
        cluster.run(5.0)
        cluster.reach_store("n3", reaches=True)
        cluster.run(5.0)
    assert (len(cluster.wins_since(begun)) <= 4) is safe


@pytest.mark.parametrize("safe", [True, False])
def test_the_stream_keeps_a_hand_over_from_being_lost(safe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not safe:
        say = Voice.say
        monkeypatch.setattr(Voice, "say", lambda self, peer, message, surely=False: say(self, peer, message))
    cluster = network(Bully)
    cluster.link.loss = 1.0
    cluster.resign("n3")
    cluster.run(0.1)
    assert (cluster.leaders == ["n2"]) is safe
