"""Of a hot line the first few in a second are written; the others are counted, and told in one line."""

from collections.abc import Callable

from hegemon.monitoring.log_sampling import KINDS_MAX, OTHERS, Sampling


class Rig:
    """A sampling of three lines a second, with a clock of its own."""

    def __init__(self, per_second: int = 3) -> None:
        self.now = 0.0
        self.told: list[tuple[str, str, int]] = []
        self.later: list[Callable[[], None]] = []
        self.sampling = Sampling(
            per_second, lambda *one: self.told.append(one), clock=lambda: self.now, later=self.later.append
        )

    def admitted(self, kind: str, times: int) -> int:
        return sum(self.sampling.admit(kind, "warning") for _ in range(times))


def test_the_first_few_of_a_kind_are_written_and_the_rest_is_told_once() -> None:
    rig = Rig()
    assert rig.admitted("hot", 10) == 3
    assert rig.admitted("rare", 2) == 2
    assert rig.told == []
    rig.later.pop()()
    assert rig.told == [("hot", "warning", 7)]


def test_one_look_is_asked_for_at_a_time() -> None:
    rig = Rig()
    rig.admitted("hot", 10)
    rig.admitted("hotter", 10)
    assert len(rig.later) == 1
    rig.later.pop()()
    assert {kind: count for kind, _, count in rig.told} == {"hot": 7, "hotter": 7}
    # And the next one when there is something again.
    rig.admitted("hot", 1)
    assert len(rig.later) == 1


def test_the_next_second_begins_anew() -> None:
    rig = Rig()
    rig.admitted("hot", 10)
    rig.now = 1.0
    assert rig.admitted("hot", 10) == 3


def test_what_is_left_is_told_in_the_end() -> None:
    rig = Rig()
    rig.admitted("hot", 4)
    rig.sampling.flush()
    assert rig.told == [("hot", "warning", 1)]
    rig.later.pop()()
    assert rig.told == [("hot", "warning", 1)]


def test_kinds_without_end_are_counted_as_one() -> None:
    rig = Rig()
    for number in range(KINDS_MAX + 10):
        rig.admitted(f"kind {number}", 1)
    rig.sampling.flush()
    assert rig.told == [(OTHERS, "warning", 7)]


def test_none_is_left_out_where_that_is_not_wanted() -> None:
    assert Rig(per_second=0).admitted("hot", 1000) == 1000
