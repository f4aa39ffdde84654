"""Raft's elector maps what PySyncObj has come to onto the contract; the contract's own sentences are run elsewhere."""

from __future__ import annotations

import pytest

from hegemon.election.contract import (
    Abdicate,
    Changed,
    Discovered,
    Effect,
    Event,
    Fitness,
    Health,
    Lost,
    Member,
    Observed,
    OfficeLost,
    Resign,
    Role,
    Tick,
    Timing,
    Witnessed,
    Won,
)
from hegemon.election.raft import RaftElector

VOTERS = ("n1", "n2", "n3")
MEMBERS = tuple(Member(name) for name in VOTERS)
TIMING = Timing()


def elector(name: str = "n1") -> RaftElector:
    raft = RaftElector(Member(name), voters=VOTERS, timing=TIMING)
    raft.start(0.0)
    return raft


def leads(term: int, *, confirmed: bool = True, members: tuple[Member, ...] = MEMBERS) -> Observed:
    return Observed(Role.LEADER, term, "n1" if confirmed else None, confirmed, members)


def follows(term: int, leader: str | None, members: tuple[Member, ...] = MEMBERS) -> Observed:
    return Observed(Role.FOLLOWER, term, leader, False, members)


def leading(term: int = 3) -> RaftElector:
    raft = elector()
    assert Won(term) in raft.handle(leads(term), 1.0)
    return raft


def shown(raft: RaftElector) -> tuple[Role, str | None, int]:
    return (raft.view.role, raft.view.leader, raft.view.term)


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


def test_a_leadership_counts_once_an_entry_of_its_own_has_committed() -> None:
    raft = elector()
    assert kinds(raft.handle(leads(3, confirmed=False), 1.0)) == [Changed]
    assert shown(raft) == (Role.CANDIDATE, None, 3)
    assert raft.handle(leads(3), 1.1) == [Changed(raft.view), Won(3)]
    assert shown(raft) == (Role.LEADER, "n1", 3)


def test_it_wins_a_term_once() -> None:
    raft = leading(3)
    assert raft.handle(leads(3), 1.2) == []
    assert kinds(raft.handle(follows(3, None), 1.3)) == [Lost, Changed]
    assert raft.handle(leads(3), 1.4) == []
    assert Won(4) in raft.handle(leads(4), 1.5)


@pytest.mark.parametrize("leader", ["n2", None])
def test_a_quorum_lost_or_another_leader_is_a_loss_that_names_the_successor(leader: str | None) -> None:
    raft = leading(3)
    lost, changed = raft.handle(follows(4, leader), 2.0)
    assert isinstance(lost, Lost)
    assert lost.leader == leader
    assert changed == Changed(raft.view)
    assert raft.view.leader == leader


def test_led_in_a_later_term_between_two_reports_it_loses_the_one_and_wins_the_other() -> None:
    raft = leading(3)
    assert kinds(raft.handle(leads(5), 2.0)) == [Lost, Changed, Changed, Won]


def test_a_report_of_an_earlier_term_is_late_and_changes_nothing() -> None:
    raft = leading(3)
    assert raft.handle(follows(2, "n2"), 2.0) == []


def test_a_lost_office_makes_the_library_give_up_and_the_term_is_not_won_again() -> None:
    raft = leading(3)
    assert kinds(raft.handle(OfficeLost("newer epoch"), 2.0)) == [Lost, Changed, Abdicate]
    assert raft.view.role is Role.FOLLOWER
    assert raft.handle(leads(3), 2.1) == []


@pytest.mark.parametrize("pause_s", [None, 5.0])
def test_resigning_tells_the_library_for_how_long_to_stay_out(pause_s: float | None) -> None:
    raft = leading(3)
    effects = raft.handle(Resign("step-down", pause_s), 2.0)
    assert kinds(effects) == [Lost, Changed, Abdicate]
    assert effects[-1] == Abdicate("step-down", pause_s)
    assert raft.view.role is Role.RESIGNED
    assert not any(isinstance(effect, Won) for effect in raft.handle(leads(4), 2.1))


def test_a_follower_that_resigns_stays_out_too_and_returns_after_the_pause() -> None:
    raft = elector()
    raft.handle(follows(3, "n2"), 1.0)
    assert kinds(raft.handle(Resign("step-down", 5.0), 2.0)) == [Changed, Abdicate]
    assert raft.deadline() == 7.0
    assert raft.handle(Tick(), 6.9) == []
    assert raft.handle(Tick(), 7.0) == [Changed(raft.view)]
    assert (raft.view.role, raft.view.leader) == (Role.FOLLOWER, "n2")


def test_a_leader_without_a_store_stands_down_for_a_fit_voter_and_not_before() -> None:
    raft = leading(3)
    raft.handle(Fitness(False), 2.0)
    assert raft.deadline() == 2.0 + TIMING.unfit_s
    assert raft.handle(Tick(), 4.9) == []
    assert kinds(raft.handle(Tick(), 5.0)) == [Lost, Changed, Abdicate]


def test_a_store_that_comes_back_in_time_changes_nothing() -> None:
    raft = leading(3)
    raft.handle(Fitness(False), 2.0)
    raft.handle(Fitness(True), 4.0)
    assert raft.handle(Tick(), 9.0) == []
    assert raft.view.role is Role.LEADER


@pytest.mark.parametrize(
    "other", [Member("n2", fit=False), Member("n2", Health.DEAD), Member("n2", voter=False)], ids=repr
)
def test_an_unfit_leader_stays_while_nobody_could_do_better(other: Member) -> None:
    raft = leading(3)
    alone = (Member("n1"), other, Member("n3", Health.DEAD))
    raft.handle(Fitness(False), 2.0)
    raft.handle(leads(3, members=alone), 2.0)
    raft.handle(Tick(), 60.0)
    assert raft.view.role is Role.LEADER
    assert raft.deadline() is None
    better = (Member("n1"), Member("n2"), Member("n3", Health.DEAD))
    assert kinds(raft.handle(leads(3, members=better), 61.0)) == [Lost, Changed, Abdicate]


def test_an_onlooker_never_leads() -> None:
    raft = elector("n9")
    raft.handle(leads(3), 1.0)
    assert raft.view.role is not Role.LEADER
    assert next(member for member in raft.view.members if member.id == "n9").voter is False


def test_a_silent_member_that_the_store_shows_is_cut_off_and_not_dead_until_the_witness_is_old() -> None:
    raft = elector()
    raft.handle(follows(3, "n2", (Member("n1"), Member("n2"), Member("n3", Health.DEAD))), 1.0)

    def health() -> Health:
        return {member.id: member.health for member in raft.view.members}["n3"]

    raft.handle(Witnessed(frozenset({"n3"})), 2.0)
    assert health() is Health.SUSPECT
    assert raft.deadline() == 2.0 + TIMING.member_witness_s
    raft.handle(Tick(), 2.0 + TIMING.member_witness_s)
    assert health() is Health.DEAD


def test_members_show_the_address_and_incarnation_that_discovery_found() -> None:
    raft = elector()
    met: list[Event] = [Discovered(Member("n2", incarnation=7, address="h:1", rank=5)), Discovered(Member("n9"))]
    for event in met:
        raft.handle(event, 1.0)
    raft.handle(follows(3, None), 1.0)
    members = {member.id: member for member in raft.view.members}
    assert (members["n2"].incarnation, members["n2"].address, members["n2"].rank) == (7, "h:1", 5)
    assert members["n9"].voter is False
