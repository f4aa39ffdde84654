"""The ring keeps the last events, and a storm of one kind does not push out the others."""

from hypothesis import given
from hypothesis import strategies as st

from hegemon.events.bus import Recorded
from hegemon.events.cluster import NodeStopped
from hegemon.events.jobs import JobsPurged
from hegemon.events.table import about_jobs
from hegemon.monitoring.ring import Ring

JOB, OTHER = JobsPurged(1), NodeStopped()


def filled(kinds: list[bool], size: int) -> Ring:
    """One event for each, about jobs where True."""
    ring = Ring(size)
    for place, is_job in enumerate(kinds):
        ring.add(Recorded(1, place + 1, 0, "n1", JOB if is_job else OTHER))
    return ring


@given(st.lists(st.booleans(), max_size=80), st.integers(2, 20), st.integers(0, 80))
def test_it_holds_the_last_of_either_share_in_order_and_never_more_than_its_size(
    kinds: list[bool], size: int, after: int
) -> None:
    ring = filled(kinds, size)
    kept = ring.after(0)
    assert len(kept) == len(ring) == min(len(kinds), size)
    numbers = [one.seq for one in kept]
    assert numbers == sorted(numbers)
    for share in (True, False):
        mine = [one.seq for one in kept if about_jobs(one.event.kind) is share]
        told = [place + 1 for place, is_job in enumerate(kinds) if is_job is share]
        assert mine == told[len(told) - len(mine) :]
        assert len(mine) >= min(len(told), size // 2)
    assert ring.after(after) == [one for one in kept if one.seq > after]


def test_a_storm_of_failing_jobs_leaves_what_happened_to_the_cluster() -> None:
    ring = filled([False] * 400 + [True] * 100_000, 1000)
    assert sum(not about_jobs(one.event.kind) for one in ring.after(0)) == 400
