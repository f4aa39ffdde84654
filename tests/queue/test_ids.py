from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hegemon.queue.clock import ClusterClock
from hegemon.queue.ids import IdSource, floor_id, incarnation, is_id
from hegemon.queue.sequence import SeqSource

MOMENTS = st.integers(min_value=0, max_value=2**47)


@given(st.lists(MOMENTS, min_size=2, max_size=200))
def test_ids_of_one_process_only_grow_whatever_its_clock_does(moments: list[int]) -> None:
    source = IdSource()
    ids = [source.next(moment) for moment in moments]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(is_id(item) for item in ids)


def test_ids_grow_through_the_end_of_the_counter() -> None:
    source = IdSource()
    before = ""
    for _ in range((1 << 18) + 10):
        made = source.next(1_800_000_000_000)
        assert made > before
        before = made


@given(MOMENTS)
def test_no_id_of_a_moment_lies_below_its_floor_nor_above_that_of_the_next(moment: int) -> None:
    made = IdSource().next(moment)
    assert floor_id(moment) <= made < floor_id(moment + 1)


@given(st.text(max_size=40))
def test_what_is_no_id_is_told_apart(text: str) -> None:
    assert not is_id(text + "!")


def test_no_two_incarnations_share_a_name() -> None:
    assert len({incarnation("n1") for _ in range(1000)}) == 1000


@given(st.lists(st.tuples(st.floats(-1e12, 2e12), st.floats(0, 2), st.floats(0, 2))))
def test_once_read_the_clock_never_falls_whatever_redis_tells(readings: list[tuple[float, float, float]]) -> None:
    clock = ClusterClock()
    clock.observe(1e9, 0.0, 0.0)
    last = clock.now_ms()
    for redis_ms, asked_s, took_s in readings:
        clock.observe(redis_ms, asked_s, asked_s + took_s)
        now = clock.now_ms()
        assert now >= last
        last = now


@given(st.lists(MOMENTS, min_size=2))
def test_sequence_numbers_only_grow_and_follow_the_clock(moments: list[int]) -> None:
    source = SeqSource()
    numbers = [source.next(moment) for moment in moments]
    assert all(one < other for one, other in pairwise(numbers))
    assert all(number >= moment * 1000 for number, moment in zip(numbers, moments, strict=True))
