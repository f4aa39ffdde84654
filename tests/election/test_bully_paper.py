"""One test for each sentence of Garcia-Molina's paper that this Bully keeps, or keeps in its own way.

"Elections in a Distributed Computing System", IEEE Transactions on Computers C-31(1), 1982: its assumptions, its two
assertions, and the Bully Election Algorithm. Assumptions 8 and 9 (a network that delivers within T, nodes that never
pause) do not hold here; what becomes of the sentences then stands in ``test_bully_network``.
"""

from __future__ import annotations

from functools import partial

import pytest

from hegemon.election import bully_messages as wire
from hegemon.election.bully import Bully
from hegemon.election.contract import Effect, Member, Received, Role, Send, Tick, Timing, Won
from tests.election.bully_peers import Peers
from tests.election.virtual_network import VirtualNetwork


def network(count: int, seed: int = 0) -> VirtualNetwork:
    members = [Member(f"n{number}") for number in range(1, count + 1)]
    return VirtualNetwork(lambda me: Bully(me, timing=Timing(), expected=count - 1), members, seed=seed, witness=False)


def messages(effects: list[Effect], kind: type[wire.Message]) -> dict[str, wire.Message]:
    decoded = {effect.to: wire.decode(effect.payload) for effect in effects if isinstance(effect, Send)}
    return {to: message for to, message in decoded.items() if isinstance(message, kind)}


@pytest.mark.parametrize("count", [2, 3, 5, 7, 9])
def test_assertion_1_nodes_in_a_normal_state_have_the_same_coordinator(count: int) -> None:
    cluster = network(count)
    cluster.start()
    for _ in range(40):
        cluster.run(0.05)
        followed = {one for one in cluster.beliefs().values() if one is not None}
        assert len(followed) <= 1
    assert cluster.agreed()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 9])
def test_assertion_2_without_failures_some_node_becomes_coordinator_within_a_bounded_time(count: int) -> None:
    cluster = network(count)
    cluster.start()
    assert cluster.run_until(cluster.agreed, 1.1) <= Timing().interval_s


@pytest.mark.parametrize("count", [2, 3, 5, 7, 9])
def test_the_bully_is_the_highest_of_the_nodes_that_are_up(count: int) -> None:
    cluster = network(count)
    cluster.start()
    for highest in range(count, 1, -1):
        cluster.run_until(partial(cluster.agreed, f"n{highest}"), 1.5)
        cluster.kill(f"n{highest}")
    cluster.run_until(lambda: cluster.agreed("n1"), 1.5)
    assert cluster.leaders == ["n1"]


def test_a_rank_that_was_given_comes_before_the_order_of_names() -> None:
    members = [Member("n1", rank=9), Member("n2"), Member("n10", rank=1)]
    cluster = VirtualNetwork(lambda me: Bully(me, timing=Timing(), expected=2), members)
    cluster.start()
    cluster.run_until(lambda: cluster.agreed("n1"), 1.1)
    cluster.kill("n1")
    cluster.run_until(lambda: cluster.agreed("n10"), 1.1)


def test_a_node_asks_only_those_with_higher_numbers_whether_they_are_up() -> None:
    peers = Peers("n3", ["n1", "n2", "n4", "n5"])
    peers.leader_dies("n5")
    assert messages(peers.effects, wire.Election).keys() == {"n4"}


def test_if_no_higher_node_is_up_it_need_not_wait_to_become_coordinator() -> None:
    peers = Peers("n3", ["n1", "n2", "n5"])
    peers.leader_dies("n5")
    assert any(isinstance(effect, Won) for effect in peers.effects)
    assert messages(peers.effects, wire.Coordinator).keys() == {"n1", "n2", "n5"}


def test_if_no_higher_node_answers_within_the_time_limit_it_becomes_coordinator() -> None:
    peers = Peers("n3", ["n1", "n4", "n5"])
    peers.leader_dies("n5")
    assert peers.role is Role.CANDIDATE
    assert not any(isinstance(effect, Won) for effect in peers.pass_time(0.15, beating=["n1"]))
    assert any(isinstance(effect, Won) for effect in peers.pass_time(0.1, beating=["n1"]))


def test_if_a_higher_node_answers_it_waits_for_that_one_to_take_over() -> None:
    peers = Peers("n3", ["n1", "n4", "n5"])
    peers.leader_dies("n5")
    peers.answer("n4")
    assert not any(isinstance(effect, Won) for effect in peers.pass_time(2.5, beating=["n4"]))
    assert peers.role is Role.CANDIDATE


def test_if_the_higher_node_does_not_take_over_in_time_the_election_begins_anew() -> None:
    peers = Peers("n3", ["n1", "n4", "n5"])
    peers.leader_dies("n5")
    peers.answer("n4")
    peers.pass_time(2.5, beating=["n4"])
    peers.effects = peers.pass_time(0.6, beating=["n4"])
    asked = messages(peers.effects, wire.Election)
    assert asked.keys() == {"n4"}


def test_if_the_higher_node_fails_while_it_is_waited_for_the_election_begins_anew_at_once() -> None:
    peers = Peers("n3", ["n1", "n4", "n5"])
    peers.leader_dies("n5")
    peers.answer("n4")
    assert any(isinstance(effect, Won) for effect in peers.pass_time(0.9, beating=["n1"]))


def test_a_node_that_is_asked_by_a_lower_one_answers_and_holds_an_election_itself() -> None:
    peers = Peers("n3", ["n1", "n4"], leader=None)
    effects = peers.hear("n1", lambda head: wire.Election(head, 7))
    answer = messages(effects, wire.Answer)["n1"]
    assert isinstance(answer, wire.Answer)
    assert answer.ballot == 7
    assert messages(effects, wire.Election).keys() == {"n4"}


def test_a_node_that_is_asked_while_its_coordinator_lives_answers_and_holds_none() -> None:
    peers = Peers("n3", ["n1", "n4"], leader="n4")
    effects = peers.hear("n1", lambda head: wire.Election(head, 7))
    assert messages(effects, wire.Answer).keys() == {"n1"}
    assert not messages(effects, wire.Election)


def test_a_new_coordinator_tells_all_and_they_follow() -> None:
    peers = Peers("n1", ["n2", "n3"], leader=None)
    peers.hear("n3", wire.Coordinator, leads=4)
    assert (peers.bully.view.leader, peers.bully.view.term) == ("n3", 4)
    assert peers.role is Role.FOLLOWER


def test_a_candidate_that_hears_of_a_coordinator_stops_its_own_election_as_if_it_had_been_halted() -> None:
    peers = Peers("n3", ["n1", "n4", "n5"])
    peers.leader_dies("n5")
    assert peers.role is Role.CANDIDATE
    peers.hear("n4", wire.Coordinator, leads=2)
    assert (peers.role, peers.bully.view.leader) == (Role.FOLLOWER, "n4")
    peers.leader, peers.term = "n4", 2
    assert not any(isinstance(effect, Won) for effect in peers.pass_time(5.0, beating=["n1", "n4"]))


def test_who_missed_the_announcement_follows_with_the_coordinators_next_beat() -> None:
    peers = Peers("n3", ["n1", "n4", "n5"])
    peers.leader_dies("n5")
    peers.answer("n4")
    peers.hear("n4", wire.Beat, leads=2)
    assert (peers.role, peers.bully.view.leader, peers.bully.view.term) == (Role.FOLLOWER, "n4", 2)


def test_a_coordinator_tells_all_in_every_period_that_it_leads_and_so_finds_whoever_does_not_follow() -> None:
    peers = Peers("n3", ["n1", "n2", "n5"])
    peers.leader_dies("n5")
    assert peers.role is Role.LEADER
    for _ in range(3):
        peers.now += peers.timing.heartbeat_s
        beats = messages(peers.give(Tick()), wire.Beat)
        assert beats.keys() >= {"n1", "n2"}
        for beat in beats.values():
            claim = beat.head.claim
            assert claim is not None
            assert (claim.leader, claim.term) == ("n3", 2)


def test_a_node_that_recovers_holds_an_election_and_takes_over_from_a_lower_one() -> None:
    cluster = network(3)
    cluster.start()
    cluster.run(1.0)
    cluster.kill("n3")
    cluster.run_until(lambda: cluster.agreed("n2"), 1.0)
    recovered = cluster.now
    cluster.start("n3")
    cluster.run_until(lambda: cluster.agreed("n3"), 1.0)
    assert cluster.wins_since(recovered) == ["n3"]


def test_a_coordinator_that_fails_is_noticed_by_those_who_do_not_hear_from_it() -> None:
    peers = Peers("n3", ["n1", "n4"], leader="n4")
    peers.pass_time(0.3, beating=["n1"])
    assert peers.bully.view.leader == "n4"
    peers.pass_time(0.1, beating=["n1"])
    assert peers.bully.view.leader != "n4"


def test_a_message_of_an_earlier_election_does_not_disturb_the_present_one() -> None:
    peers = Peers("n3", ["n4", "n5"])
    peers.leader_dies("n5")
    peers.hear("n4", lambda head: wire.Answer(head, 999))
    assert any(isinstance(effect, Won) for effect in peers.pass_time(0.25, beating=[]))


def test_events_before_the_deadline_change_nothing() -> None:
    peers = Peers("n3", ["n4"], leader="n4")
    late = peers.bully.deadline()
    assert late is not None
    assert peers.bully.handle(Tick(), late - 1e-3) == []
    assert peers.bully.handle(Received("n4", b""), late - 1e-3) == []
