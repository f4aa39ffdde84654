"""Which inboxes are called hoards, in time that the test makes."""

from __future__ import annotations

from hegemon.cluster.hoards import Hoards


def test_an_inbox_that_nobody_touches_is_a_hoard_after_the_patience() -> None:
    judge = Hoards(1.0)
    found = [judge.judge({"w1": (3, "a"), "w2": (3, f"{step}")}, step / 2) for step in range(5)]
    assert found == [[], [], [], ["w1"], ["w1"]]


def test_an_inbox_that_is_taken_from_or_added_to_is_none() -> None:
    judge = Hoards(1.0)
    for step in range(10):
        assert judge.judge({"taken": (30 - step, f"{step}"), "added": (30 + step, "a")}, step / 2) == []


def test_an_inbox_that_was_empty_between_two_looks_begins_anew() -> None:
    judge = Hoards(1.0)
    judge.judge({"w1": (1, "a")}, 0.0)
    judge.judge({}, 0.6)
    assert judge.judge({"w1": (1, "a")}, 1.2) == []


def test_a_judge_that_was_stopped_calls_nobody_a_hoarder_for_the_time_between() -> None:
    judge = Hoards(1.0)
    judge.judge({"w1": (1, "a")}, 0.0)
    assert judge.judge({"w1": (1, "a")}, 60.0) == []
