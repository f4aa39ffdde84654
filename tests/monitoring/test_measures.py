"""What a process counts: added up without loss, bounded in names, and never less than before."""

import random
import threading

import pytest

from hegemon import measures
from hegemon.measures import ENDED, JOB_S, MICRO, OTHER, SERIES_MAX, SUBMITTED, WAIT, Meters, Names, Totals


def test_a_value_lies_in_the_first_bucket_that_is_not_below_it() -> None:
    meter = Meters().at(WAIT, "q")
    for value in (-1.0, 0.0, 0.001, 0.0011, 3600.0, 3601.0):
        meter.observe(value)
    row = list(meter.row)
    assert row[:2] == [3, 1]
    assert row[len(JOB_S) - 1 : len(JOB_S) + 1] == [1, 1]
    assert sum(row[:-1]) == 6
    assert row[-1] == pytest.approx((0.001 + 0.0011 + 3600 + 3601) * MICRO, abs=2)


def test_many_values_at_once_are_the_same_as_each_by_itself() -> None:
    rng = random.Random(7)
    values = [rng.expovariate(10) for _ in range(500)]
    one, many = Meters().at(WAIT, "q"), Meters().at(WAIT, "q")
    for value in values:
        one.observe(value)
    many.observe_all(values)
    assert list(one.row)[:-1] == list(many.row)[:-1]
    assert one.row[len(JOB_S) + 1] == pytest.approx(many.row[len(JOB_S) + 1], abs=len(values))


def test_the_first_hundred_names_have_series_and_the_rest_share_one() -> None:
    meters = Meters()
    for turn in range(2):
        for i in range(SERIES_MAX + 50):
            meters.at(ENDED, f"q{i}", "completed").add(turn + 1)
            meters.at(SUBMITTED, f"q{i}").add()
    found = dict(meters.read())
    assert len(found) == 2 * (SERIES_MAX + 1)
    assert found["ended", "q0", "completed"] == (3,)
    assert found["ended", OTHER, "completed"] == (150,)
    assert {key[1] for key in found} == {*(f"q{i}" for i in range(SERIES_MAX)), OTHER}


def test_names_that_processes_bounded_apart_are_bounded_together() -> None:
    totals = Totals()
    for process in range(3):
        meters = Meters()
        for i in range(SERIES_MAX):
            meters.at(SUBMITTED, f"p{process}-{i}").add()
        totals.keep(meters.read())
    found = totals.sums()
    assert len(found) == SERIES_MAX + 1
    assert sum(row[0] for row in found.values()) == 3 * SERIES_MAX


def test_a_sum_never_falls_whatever_ends_and_whatever_comes() -> None:
    rng = random.Random(3)
    totals, living = Totals(), [Meters() for _ in range(3)]
    before: dict[measures.Key, list[int]] = {}
    for _ in range(400):
        meters = rng.choice(living)
        meters.at(ENDED, f"q{rng.randrange(150)}", rng.choice(measures.OUTCOMES)).add(rng.randrange(5))
        meters.at(WAIT, f"q{rng.randrange(150)}").observe(rng.random())
        if rng.random() < 0.05:
            totals.keep(meters.read())
            living[living.index(meters)] = Meters()
        now = totals.sums(*(one.read() for one in living))
        for key, row in before.items():
            assert all(new >= old for new, old in zip(now[key], row, strict=True)), key
        before = now


def test_threads_that_make_the_same_series_at_once_make_one() -> None:
    made: list[measures.Key] = []
    inside, another = threading.Event(), threading.Event()

    def allot(key: measures.Key, width: int) -> measures.Row:
        made.append(key)
        if inside.is_set():
            another.set()
        inside.set()
        # Long enough for whoever is let in beside us; nobody is.
        another.wait(0.3)
        return [0] * width

    meters = Meters(allot)
    threads = [threading.Thread(target=meters.at, args=(SUBMITTED, "q")) for _ in range(2)]
    threads[0].start()
    assert inside.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert made == [("submitted", "q")]


def test_a_name_once_known_stays_known() -> None:
    names = Names()
    first = [names.of(f"q{i}") for i in range(SERIES_MAX + 1)]
    assert first[-1] == OTHER
    assert [names.of(f"q{i}") for i in range(SERIES_MAX + 1)] == first
