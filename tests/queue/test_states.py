"""The transition table is the contract of a job's life; these tests read it as its users do."""

import itertools

import pytest

from hegemon.queue.states import FINAL, INITIAL, LIVE, TRANSITIONS, Event, IllegalTransition, Status, after, sources


def test_a_final_state_is_left_only_by_an_explicit_requeue() -> None:
    leaving = {(status, event) for status, event in TRANSITIONS if status in FINAL}
    assert leaving == {(Status.FAILED, Event.REQUEUE), (Status.CANCELLED, Event.REQUEUE)}


def test_a_recorded_completion_is_for_ever() -> None:
    for event in Event:
        with pytest.raises(IllegalTransition):
            after(Status.COMPLETED, event)


def test_every_status_is_reached_and_every_live_one_can_end() -> None:
    reached = set(INITIAL)
    for _ in Status:
        reached |= {to for (status, _event), to in TRANSITIONS.items() if status in reached}
    assert reached == set(Status)
    for status in LIVE:
        assert after(status, Event.CANCEL) is Status.CANCELLED
        assert after(status, Event.GIVE_UP) is Status.FAILED


def test_a_move_outside_the_table_raises_and_names_both_sides() -> None:
    for status, event in itertools.product(Status, Event):
        if (status, event) in TRANSITIONS:
            assert after(status, event) is TRANSITIONS[status, event]
        else:
            with pytest.raises(IllegalTransition, match=f"{status}.*{event}"):
                after(status, event)


def test_a_completion_may_overtake_the_marks_before_it_but_never_a_final_state() -> None:
    assert sources(Event.SUCCEED) == LIVE
    assert sources(Event.FAIL) == LIVE
    assert sources(Event.CANCEL) == LIVE
    assert sources(Event.REQUEUE) == {Status.FAILED, Status.CANCELLED}
    assert sources(Event.START) == LIVE - {Status.RUNNING}
