from hypothesis import given
from hypothesis import strategies as st

from hegemon.cluster.liveness import Liveness

PATIENCE_S = 3.0


def judge(liveness: Liveness, steps: list[tuple[float, dict[str, int]]], members: str = "a") -> list[list[str]]:
    return [sorted(liveness.dead(members, beats, now_s)) for now_s, beats in steps]


def test_a_counter_that_stands_still_beyond_the_patience_is_dead_and_not_before() -> None:
    steps = [(float(now), {"a": 1}) for now in range(5)]
    assert judge(Liveness(PATIENCE_S), steps) == [[], [], [], [], ["a"]]


def test_each_move_gives_a_full_lease_again() -> None:
    steps = [(float(now), {"a": now // 3}) for now in range(12)]
    assert judge(Liveness(PATIENCE_S), steps) == [[]] * 12


def test_a_counter_that_was_reset_has_moved() -> None:
    steps = [(0.0, {"a": 90}), (1.0, {"a": 90}), (2.0, {"a": 1}), (3.0, {"a": 1}), (4.0, {"a": 1}), (5.0, {"a": 1})]
    assert judge(Liveness(PATIENCE_S), steps) == [[]] * 6


def test_a_missing_counter_is_unknown_and_gets_a_full_lease() -> None:
    steps: list[tuple[float, dict[str, int]]] = [(0.0, {"a": 1}), (1.0, {"a": 1}), (2.0, {"a": 1}), (3.0, {})]
    steps += [(4.0, {}), (5.0, {}), (6.0, {}), (7.0, {})]
    assert judge(Liveness(PATIENCE_S), steps)[:7] == [[]] * 7
    assert judge(Liveness(PATIENCE_S), steps)[7] == ["a"]


def test_a_judge_that_was_away_itself_gives_everyone_a_full_lease() -> None:
    steps = [(0.0, {"a": 1}), (1.0, {"a": 1}), (60.0, {"a": 1}), (61.0, {"a": 1}), (62.0, {"a": 1})]
    assert judge(Liveness(PATIENCE_S), steps) == [[]] * 5


def test_who_left_and_came_back_starts_anew() -> None:
    liveness = Liveness(PATIENCE_S)
    judge(liveness, [(float(now), {"a": 1}) for now in range(3)])
    judge(liveness, [(3.0, {})], members="")
    assert judge(liveness, [(4.0, {"a": 1}), (5.0, {"a": 1})]) == [[], []]


@given(st.lists(st.tuples(st.floats(0.01, 1.4), st.booleans()), max_size=60))
def test_nobody_is_dead_whose_counter_moved_within_the_patience(steps: list[tuple[float, bool]]) -> None:
    liveness, now_s, beat, moved_s = Liveness(PATIENCE_S), 0.0, 0, 0.0
    liveness.dead("a", {"a": beat}, now_s)
    for pause_s, moves in steps:
        now_s += pause_s
        if moves:
            beat, moved_s = beat + 1, now_s
        assert bool(liveness.dead("a", {"a": beat}, now_s)) is (now_s - moved_s > PATIENCE_S)
