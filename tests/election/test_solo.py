"""Solo keeps the election contract, and does with it what a node alone should."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.election.contract import (
    Changed,
    Discovered,
    Effect,
    Elector,
    Event,
    Health,
    Lost,
    Member,
    OfficeLost,
    Received,
    Resign,
    Role,
    Tick,
    View,
    Witnessed,
    Won,
)
from hegemon.election.solo import Solo

ALONE = (Member("n1", Health.ALIVE),)
LEADING = View(leader="n1", term=1, role=Role.LEADER, members=ALONE)


def started(*, now: float = 0.0, retry_s: float = 1.0) -> Solo:
    solo = Solo("n1", retry_s=retry_s)
    solo.start(now)
    return solo


def test_it_leads_from_the_start_in_term_one() -> None:
    solo = Solo("n1")
    assert solo.start(10.0) == [Changed(LEADING), Won(1)]
    assert solo.view == LEADING


def test_before_the_start_it_leads_nobody_and_takes_no_events() -> None:
    solo = Solo("n1")
    assert solo.view == View(leader=None, term=0, role=Role.FOLLOWER, members=ALONE)
    assert solo.deadline() is None
    with pytest.raises(RuntimeError, match="not started"):
        solo.handle(Tick(), 0.0)


def test_it_cannot_be_started_twice() -> None:
    with pytest.raises(RuntimeError, match="started before"):
        started().start(1.0)


def test_a_leader_wants_no_tick() -> None:
    solo = started()
    assert solo.deadline() is None
    assert solo.handle(Tick(), 1e9) == []


@pytest.mark.parametrize(
    "event",
    [Received("n2", b"\x00garbage"), Discovered(Member("n2")), Witnessed(frozenset({"n2"}))],
    ids=lambda event: type(event).__name__,
)
def test_it_hears_nobody(event: Event) -> None:
    solo = started()
    assert solo.handle(event, 1.0) == []
    assert solo.view == LEADING


def test_a_lost_office_makes_it_stand_down_at_once() -> None:
    solo = started()
    down = View(leader=None, term=1, role=Role.FOLLOWER, members=ALONE)
    assert solo.handle(OfficeLost("a newer epoch"), 5.0) == [Lost(None, "a newer epoch"), Changed(down)]
    assert solo.view == down


def test_after_a_lost_office_it_stands_again_in_a_new_term_when_the_delay_is_over() -> None:
    solo = started(retry_s=2.0)
    solo.handle(OfficeLost("the store stalled"), 5.0)
    assert solo.deadline() == 7.0
    assert solo.handle(Tick(), 6.999) == []
    again = View(leader="n1", term=2, role=Role.LEADER, members=ALONE)
    assert solo.handle(Tick(), 7.0) == [Changed(again), Won(2)]
    assert solo.deadline() is None


def test_a_second_report_of_a_lost_office_does_not_postpone_the_return() -> None:
    solo = started(retry_s=2.0)
    solo.handle(OfficeLost("once"), 5.0)
    assert solo.handle(OfficeLost("twice"), 6.0) == []
    assert solo.deadline() == 7.0


def test_resigning_for_good_makes_it_stand_down_and_never_return() -> None:
    solo = started()
    resigned = View(leader=None, term=1, role=Role.RESIGNED, members=ALONE)
    assert solo.handle(Resign("SIGTERM"), 3.0) == [Lost(None, "SIGTERM"), Changed(resigned)]
    assert solo.deadline() is None
    late: list[Event] = [Tick(), OfficeLost("late news"), Resign("step-down", pause_s=1.0), Tick()]
    for step, event in enumerate(late, start=1):
        assert solo.handle(event, 10.0 * step) == []
        assert solo.deadline() is None
    assert solo.view == resigned


def test_a_step_down_lasts_for_its_pause() -> None:
    solo = started()
    solo.handle(Resign("step-down", pause_s=30.0), 10.0)
    assert solo.view.role is Role.RESIGNED
    assert solo.deadline() == 40.0
    assert Won(2) in solo.handle(Tick(), 41.5)


def test_resigning_while_out_of_office_is_no_second_loss() -> None:
    solo = started()
    solo.handle(OfficeLost("a newer epoch"), 5.0)
    resigned = View(leader=None, term=1, role=Role.RESIGNED, members=ALONE)
    assert solo.handle(Resign("SIGTERM"), 5.5) == [Changed(resigned)]
    assert solo.deadline() is None


def test_resigning_for_good_overrules_a_pause() -> None:
    solo = started()
    solo.handle(Resign("step-down", pause_s=30.0), 10.0)
    solo.handle(Resign("SIGTERM"), 11.0)
    assert solo.deadline() is None
    assert solo.handle(Tick(), 100.0) == []


@pytest.mark.parametrize("retry_s", [0.0, -1.0, math.nan])
def test_a_retry_delay_that_would_spin_is_refused(retry_s: float) -> None:
    with pytest.raises(ValueError, match="retry_s"):
        Solo("n1", retry_s=retry_s)


events = st.one_of(
    st.just(Tick()),
    st.just(OfficeLost("lost")),
    st.builds(Resign, st.just("resign"), st.none() | st.floats(0.0, 10.0)),
    st.builds(Received, st.text(max_size=3), st.binary(max_size=8), st.booleans()),
    st.just(Witnessed(frozenset({"n2"}))),
)


class Contract:
    """The sentences of the contract that can be checked from outside, for any elector."""

    def __init__(self, elector: Elector) -> None:
        self.elector = elector
        self.leading = False
        self.term = 0

    def check(self, before: View, effects: list[Effect]) -> None:
        shown = before
        for effect in effects:
            match effect:
                case Won(term):
                    assert not self.leading, "Won twice"
                    assert term > self.term, "a term of Won did not rise"
                    self.leading, self.term = True, term
                case Lost():
                    assert self.leading, "Lost without Won"
                    self.leading = False
                case Changed(view):
                    assert view != shown, "Changed without a change"
                    shown = view
                case _:
                    pass
        assert shown == self.elector.view, "the view changed in silence"
        assert self.leading == (self.elector.view.role is Role.LEADER)
        assert shown.term >= before.term


@given(st.lists(st.tuples(events, st.floats(0.0, 5.0))))
def test_the_contract_holds_after_any_events_at_any_times(script: list[tuple[Event, float]]) -> None:
    elector: Elector = Solo("n1")
    contract = Contract(elector)
    now = 100.0
    contract.check(elector.view, list(elector.start(now)))
    for event, later in script:
        now += later
        before = elector.view
        contract.check(before, list(elector.handle(event, now)))
        deadline = elector.deadline()
        if isinstance(event, Tick):
            assert deadline is None or deadline > now, "a shell that ticks at the deadline would spin"
