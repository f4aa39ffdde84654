"""What our Bully adds to the paper's: incarnations, fitness, witness, orderly hand-over, listening after a pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.election import bully_messages as wire
from hegemon.election.bully import Bully
from hegemon.election.contract import (
    Discovered,
    Effect,
    Fitness,
    Health,
    Lost,
    Member,
    OfficeLost,
    Received,
    Resign,
    Role,
    Send,
    Stream,
    Tick,
    Timing,
    Witnessed,
    Won,
)
from tests.election.bully_peers import Peers


def health(peers: Peers, name: str) -> Health:
    return {member.id: member.health for member in peers.bully.view.members}[name]


def won(effects: list[Effect]) -> bool:
    return any(isinstance(effect, Won) for effect in effects)


def said(effects: list[Effect], to: str, kind: type[wire.Message]) -> list[wire.Message]:
    decoded = [
        wire.decode(effect.payload) for effect in effects if isinstance(effect, Send | Stream) and effect.to == to
    ]
    return [message for message in decoded if isinstance(message, kind)]


def leading(name: str = "n3", others: tuple[str, ...] = ("n1", "n2")) -> Peers:
    peers = Peers(name, others, leader=None)
    while peers.role is not Role.LEADER:
        assert peers.now < 13.0
        peers.pass_time(0.05, beating=others)
    peers.leader, peers.term = name, peers.bully.view.term
    return peers


def test_with_nobody_to_ask_it_leads_from_the_start() -> None:
    assert Won(1) in Bully(Member("n1"), timing=Timing(), expected=0).start(0.0)


def test_expected_peers_that_are_down_are_waited_for_an_interval_at_most() -> None:
    bully = Bully(Member("n1"), timing=Timing(), expected=2)
    bully.start(0.0)
    assert not won(list(bully.handle(Tick(), 0.999)))
    assert won(list(bully.handle(Tick(), 1.0)))


def test_a_silent_leader_that_the_store_shows_is_suspect_and_not_succeeded() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    for _ in range(100):
        peers.give(Witnessed(frozenset({"n5"})))
        peers.pass_time(0.1, beating=["n1"])
    assert peers.bully.view.leader == "n5"
    assert health(peers, "n5") is Health.SUSPECT
    assert won(peers.pass_time(0.5, beating=["n1"]))


def test_a_leader_that_only_others_hear_is_followed() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    for _ in range(100):
        peers.seqs["n5"] += 1  # its pulse moves, and n1 passes that on
        peers.pass_time(0.1, beating=["n1"])
    assert peers.bully.view.leader == "n5"


def test_a_claim_that_is_passed_on_without_a_new_pulse_keeps_nobody_alive() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    peers.pass_time(0.4, beating=["n1"])
    assert peers.bully.view.leader != "n5"


def test_messages_of_an_older_incarnation_are_ignored_and_answered_with_the_newer() -> None:
    peers = Peers("n3", ["n5"], leader="n5")
    stale = peers.payload("n5", wire.Coordinator, leads=99)
    peers.incarnations["n5"], peers.seqs["n5"] = 2, 0
    peers.hear("n5", leads=2)
    view = peers.bully.view
    effects = peers.give(Received("n5", stale))
    assert peers.bully.view == view
    (table,) = said(effects, "n5", wire.Table)
    assert isinstance(table, wire.Table)
    assert [(row.id, row.incarnation) for row in table.rows] == [("n5", 2)]


def test_a_leader_that_returns_under_a_new_incarnation_leads_no_more() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    peers.incarnations["n5"], peers.seqs["n5"], peers.leader = 2, 0, None
    effects = peers.hear("n5")
    assert said(effects, "n5", wire.Election)


@pytest.mark.parametrize("left", [True, False])
def test_a_node_that_others_know_as_newer_or_gone_takes_an_incarnation_above(left: bool) -> None:
    peers = Peers("n3", ["n1"], leader=None)
    known = 1 if left else 7
    peers.hear("n1", lambda head: wire.Table(head, (wire.Row("n3", known, "", None, left),), reply=False))
    assert {member.id: member.incarnation for member in peers.bully.view.members}["n3"] == known + 1


def test_a_member_that_left_is_not_awaited_and_comes_back_only_under_a_newer_incarnation() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    peers.leader = None
    effects = peers.hear("n5", lambda head: wire.Handover(head, None, leaving=True))
    assert won(effects)
    peers.hear("n5")
    assert health(peers, "n5") is Health.LEFT
    assert not [effect for effect in peers.pass_time(3.0) if isinstance(effect, Send) and effect.to == "n5"]
    peers.incarnations["n5"], peers.seqs["n5"] = 2, 0
    peers.hear("n5")
    assert health(peers, "n5") is Health.ALIVE


def test_an_unfit_node_waits_for_fit_ones_of_lower_precedence() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    peers.give(Fitness(fit=False))
    peers.leader_dies("n5")
    assert said(peers.effects, "n1", wire.Election)
    assert peers.role is Role.CANDIDATE


def test_an_unfit_node_leads_if_no_fit_one_is_left() -> None:
    peers = Peers("n3", ["n5"], leader="n5")
    peers.give(Fitness(fit=False))
    peers.leader_dies("n5")
    assert peers.role is Role.LEADER


def test_a_leader_that_stays_unfit_hands_over_to_a_fit_member_after_unfit_s() -> None:
    peers = leading()
    peers.give(Fitness(fit=False))
    assert peers.pass_time(2.9, beating=["n1", "n2"]) == []
    effects = peers.pass_time(0.15, beating=["n1", "n2"])
    assert isinstance(effects[0], Lost)
    assert effects[0].leader == "n2"
    assert said(effects, "n2", wire.Handover)


def test_a_leader_that_stays_unfit_leads_on_if_nobody_is_fit() -> None:
    peers = leading()
    peers.give(Fitness(fit=False))
    for _ in range(50):
        peers.pass_time(0.05)
        for other in ("n1", "n2"):
            peers.hear(other, fit=False)
    assert peers.role is Role.LEADER
    assert not won(peers.pass_time(1.0))


def test_a_resigning_leader_names_the_best_successor_and_makes_sure_that_it_hears() -> None:
    peers = leading()
    effects = peers.give(Resign("SIGTERM"))
    assert effects[0] == Lost("n2", "SIGTERM")
    assert {effect.to for effect in effects if isinstance(effect, Stream)} == {"n2"}
    handovers = [message for to in ("n1", "n2") for message in said(effects, to, wire.Handover)]
    assert {(one.successor, one.leaving) for one in handovers if isinstance(one, wire.Handover)} == {("n2", True)}
    assert peers.bully.deadline() is None


def test_a_named_successor_wins_at_once() -> None:
    peers = Peers("n3", ["n4", "n5"], leader="n5")
    peers.leader = None
    assert won(peers.hear("n5", lambda head: wire.Handover(head, "n3", leaving=True)))


def test_others_await_the_named_successor_but_not_for_ever() -> None:
    peers = Peers("n3", ["n2", "n5"], leader="n5")
    peers.leader = None
    assert not won(peers.hear("n5", lambda head: wire.Handover(head, "n2", leaving=True)))
    assert not won(peers.pass_time(0.3, beating=["n2"]))
    assert won(peers.pass_time(0.1, beating=["n2"]))


def test_a_step_down_lasts_for_its_pause_even_if_everybody_else_is_lower() -> None:
    peers = leading()
    peers.give(Resign("operator", 30.0))
    peers.leader, peers.term = "n2", 5
    for _ in range(290):
        peers.hear("n2", leads=5)
        effects = peers.pass_time(0.1)
        assert not said(effects, "n2", wire.Election)
        assert peers.role is Role.RESIGNED
    peers.pass_time(1.0, beating=["n1"])
    peers.hear("n2", leads=5)
    assert said(peers.effects + peers.pass_time(0.1), "n2", wire.Election)


def test_a_leader_that_is_asked_by_a_higher_node_loses_first_and_hands_over_then() -> None:
    peers = Peers("n2", ["n1", "n3"], leader="n3")
    peers.leader_dies("n3")
    assert peers.role is Role.LEADER
    peers.leader, peers.term = "n2", peers.bully.view.term
    claim = wire.Claim("n2", 1, peers.term, 0, sound=True, followed=True)
    head = wire.Head(1, 1000, 1000, peers.term, None, True, True, True, claim)
    effects = peers.give(Received("n3", wire.encode(wire.Election(head, 0))))
    assert effects[0] == Lost("n3", "n3 has precedence")
    assert said(effects, "n3", wire.Handover)


def test_a_request_of_a_past_term_is_not_granted() -> None:
    peers = Peers("n2", ["n1", "n3"], leader="n3")
    peers.leader_dies("n3")
    claim = wire.Claim("n2", 1, peers.bully.view.term - 1, 0, sound=True, followed=True)
    head = wire.Head(1, 1000, 1000, 0, None, True, True, True, claim)
    peers.give(Received("n3", wire.encode(wire.Election(head, 0))))
    assert peers.role is Role.LEADER


def test_a_lost_office_leaves_the_lead_to_others_for_ever_longer_times() -> None:
    peers, times = leading("n3", ()), []
    for _ in range(4):
        peers.give(OfficeLost("a newer epoch"))
        begun = peers.now
        while peers.role is not Role.LEADER:
            peers.pass_time(0.05)
        times.append(round(peers.now - begun))
    assert times == [1, 2, 4, 8]


def test_after_a_long_absence_nobody_is_dead_before_it_has_been_listened_for() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    peers.now += 30.0
    assert peers.give(Tick()) != []
    assert peers.bully.view.leader == "n5"
    peers.pass_time(0.3)
    assert peers.bully.view.leader == "n5"
    assert won(peers.pass_time(0.1))


def test_a_leader_that_was_away_yields_to_the_successor_that_it_hears() -> None:
    peers = leading()
    peers.now += 30.0
    peers.term = 2
    effects = peers.hear("n2", leads=peers.term)
    assert effects[0] == Lost("n2", "n2 leads in term 2")
    assert not said(peers.pass_time(5.0, beating=["n1"]), "n2", wire.Election)


def test_a_doubled_or_overtaken_message_is_no_sign_of_life() -> None:
    peers = Peers("n3", ["n1", "n5"], leader="n5")
    late, last = peers.payload("n5", wire.Beat, leads=1), peers.payload("n5", wire.Beat, leads=1)
    peers.give(Received("n5", last))
    for _ in range(4):
        peers.pass_time(0.1, beating=["n1"])
        peers.give(Received("n5", late))
        peers.give(Received("n5", last))
    assert peers.bully.view.leader != "n5"


def test_members_learn_of_each_other_through_one_peer() -> None:
    peers = Peers("n3", ["n1"], leader=None)
    rows = (wire.Row("n2", 4, "n2:7", 3, left=False), wire.Row("n9", 1, "", None, left=True))
    effects = peers.hear("n1", lambda head: wire.Table(head, rows, reply=True))
    members = {member.id: member for member in peers.bully.view.members}
    assert members.keys() == {"n1", "n2", "n3"}
    assert (members["n2"].address, members["n2"].incarnation, members["n2"].rank) == ("n2:7", 4, 3)
    assert said(effects, "n2", wire.Table)
    assert said(effects, "n1", wire.Table)


def test_who_has_been_dead_for_long_is_forgotten() -> None:
    peers = Peers("n3", ["n1"], leader=None)
    peers.pass_time(290.0)
    assert health(peers, "n1") is Health.DEAD
    peers.pass_time(15.0)
    assert [member.id for member in peers.bully.view.members] == ["n3"]


def test_a_large_table_goes_by_stream() -> None:
    peers = Peers("n1", ["n2"], leader=None)
    rows = tuple(wire.Row(f"node-{number}", 1, f"10.0.0.{number}:7946", None, left=False) for number in range(99))
    peers.hear("n2", lambda head: wire.Table(head, rows, reply=True))
    assert any(isinstance(effect, Stream) for effect in peers.effects)


@pytest.mark.parametrize("member", [Member(""), Member("x" * 256), Member("n1", rank=1 << 70)])
def test_an_identity_that_no_message_can_carry_is_refused(member: Member) -> None:
    with pytest.raises(ValueError, match="characters"):
        Bully(member, timing=Timing())


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_in_peace(payload: bytes) -> None:
    message = wire.decode(b"\x01" + payload)
    assert message is None or wire.decode(wire.encode(message)) == message


def test_a_discovery_of_itself_is_no_news() -> None:
    peers = Peers("n3", ["n1"], leader=None)
    assert peers.give(Discovered(Member("n3", incarnation=9))) == []
