"""What a worker holds: the order in which it starts, what it lets go first, and how far ahead it may hold (I6)."""

from hypothesis import given
from hypothesis import strategies as st

from hegemon.queue.entries import decode_body, encode_body, entry_text, parse_entry
from hegemon.worker.execution import Taken
from hegemon.worker.pace import AHEAD_S, Pace
from hegemon.worker.waiting import Claims
from tests.engine.parts import document

PRIORITIES = st.lists(st.integers(0, 10), max_size=30)


def taken(seq: int, priority: int = 5) -> Taken:
    item = document(seq, priority=priority)
    return Taken(parse_entry(entry_text(item)), decode_body(encode_body(item))[1])


def holding(jobs: list[Taken]) -> Claims:
    claims = Claims()
    for job in jobs:
        assert claims.claim(job.entry.id, job.entry.text)
        claims.put(job)
    return claims


@given(PRIORITIES)
def test_jobs_start_by_priority_and_first_come_first_served(priorities: list[int]) -> None:
    jobs = [taken(n, priority) for n, priority in enumerate(priorities)]
    claims, started = holding(jobs), []
    while (job := claims.first()) is not None:
        claims.started(job)
        started.append(job)
    assert started == sorted(jobs, key=lambda job: (-job.entry.priority, job.entry.seq))
    assert (claims.waiting, len(claims)) == (0, len(jobs))


@given(PRIORITIES, st.integers(0, 40))
def test_the_lowest_priority_and_the_newest_go_back_first(priorities: list[int], count: int) -> None:
    jobs = [taken(n, priority) for n, priority in enumerate(priorities)]
    claims = holding(jobs)
    expected = sorted(jobs, key=lambda job: (job.entry.priority, -job.entry.seq))[:count]
    assert claims.shed(count) == [job.entry.id for job in expected]
    assert len(claims) == claims.waiting == len(jobs) - len(expected)


def test_a_taking_that_is_told_twice_is_one_claim() -> None:
    job = taken(1)
    claims = holding([job])
    assert not claims.claim(job.entry.id, job.entry.text)


def test_a_cancellation_meets_only_the_attempt_that_it_is_for() -> None:
    job = taken(1)
    claims = holding([job])
    assert not claims.cancel(job.entry.id, 2)
    assert not claims.cancelled(job.entry.id)
    assert claims.cancel(job.entry.id, 1)
    assert claims.cancelled(job.entry.id)
    claims.forget(job.entry.id)
    assert claims.claim(job.entry.id, job.entry.again(seq=2))
    assert not claims.cancelled(job.entry.id), "the job was requeued by hand, and lives"


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0.01, 1.0)), min_size=1, max_size=50))
def test_no_more_is_held_ahead_than_fifty_milliseconds_of_the_fastest_measured_work(
    steps: list[tuple[int, float]],
) -> None:
    pace = Pace()
    for done, elapsed_s in steps:
        for _ in range(done):
            pace.ended()
        pace.measure(elapsed_s, busy=True)
        assert pace.ahead <= AHEAD_S * max(count / seconds for count, seconds in steps)


def test_slow_work_holds_nothing_ahead() -> None:
    """With jobs of a second each, one that is held ahead would make a more urgent one wait for a second."""
    pace = Pace()
    for _ in range(20):
        pace.ended()
        pace.measure(1.0, busy=True)
    assert pace.ahead == 0
