"""The four strategies give the shares that their definitions say, and none of them ever breaks the common rules."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.cluster.balancing import STRATEGIES, WorkerView, balancer, prefer

EVERY_STRATEGY = pytest.mark.parametrize("name", list(STRATEGIES))


@dataclass(frozen=True, slots=True)
class Ready:
    type: str = "echo"
    priority: int = 5
    suspect: bool = False


def worker(
    id_: str,
    *,
    slots: int = 4,
    held: int = 0,
    room: int = 10_000,
    priority: int = 0,
    types: Sequence[str] = ("echo",),
    solo: bool = False,
) -> WorkerView:
    return WorkerView(id_, f"node-of-{id_}", slots, held, room, priority, frozenset(types), solo)


def allocate(name: str, workers: Sequence[WorkerView], jobs: int) -> list[str | None]:
    return balancer(name, random.Random(11)).allocate(workers, [Ready()] * jobs)


THREE = [worker("a"), worker("b"), worker("c")]


# --- nodes in doubt ---


def test_a_node_in_doubt_gets_nothing_that_another_has_room_for() -> None:
    for name in STRATEGIES:
        assert set(allocate(name, prefer(THREE, {"node-of-b"}), 300)) <= {"a", "c"}


def test_a_node_in_doubt_gets_what_nobody_else_can_take_now() -> None:
    full = [worker("a", room=0), worker("b")]
    assert allocate("least_loaded", prefer(full, {"node-of-b"}), 2) == ["b", "b"]
    other = [worker("a", types=["mail"]), worker("b", types=["mail", "echo"])]
    doubted = prefer(other, {"node-of-b"})
    assert allocate("least_loaded", doubted, 1) == ["b"]
    assert next(view for view in doubted if view.id == "b").types == {"echo"}


def test_room_for_suspects_is_no_room_for_others() -> None:
    solo = [worker("a", solo=True), worker("b")]
    assert allocate("least_loaded", prefer(solo, {"node-of-b"}), 1) == ["b"]


# --- round_robin ---


def test_round_robin_gives_three_equal_workers_exactly_a_third_each() -> None:
    assert Counter(allocate("round_robin", THREE, 3_000)) == {"a": 1_000, "b": 1_000, "c": 1_000}


def test_round_robin_goes_by_id_whatever_the_order_of_the_workers() -> None:
    assert allocate("round_robin", THREE[::-1], 5) == ["a", "b", "c", "a", "b"]


def test_round_robin_ignores_load() -> None:
    busy = [worker("a", held=100), worker("b"), worker("c")]
    assert Counter(allocate("round_robin", busy, 300)) == {"a": 100, "b": 100, "c": 100}


def test_round_robin_skips_a_full_worker() -> None:
    assert allocate("round_robin", [worker("a"), worker("b", room=1), worker("c")], 6) == ["a", "b", "c", "a", "c", "a"]


def test_round_robin_goes_on_where_the_last_call_ended() -> None:
    ring = balancer("round_robin", random.Random(0))
    assert [ring.allocate(THREE, [Ready()])[0] for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_round_robin_keeps_its_place_as_workers_come_and_go() -> None:
    ring = balancer("round_robin", random.Random(0))
    assert ring.allocate(THREE, [Ready()] * 2) == ["a", "b"]
    assert ring.allocate([worker("a"), worker("c")], []) == []  # b is away
    assert ring.allocate([worker("a"), worker("bb"), worker("c")], [Ready()] * 3) == ["bb", "c", "a"]
    assert ring.allocate([], [Ready()]) == [None]
    assert ring.allocate(THREE, [Ready()] * 3) == ["b", "c", "a"]


def test_a_suspect_does_not_move_the_ring_of_the_other_jobs() -> None:
    ring = balancer("round_robin", random.Random(0))
    jobs = [Ready(), Ready(suspect=True), Ready(), Ready(suspect=True), Ready()]
    workers = [*THREE, worker("s1", solo=True), worker("s2", solo=True)]
    assert ring.allocate(workers, jobs) == ["a", "s1", "b", "s2", "c"]


# --- least_loaded ---


def test_least_loaded_gives_equal_workers_equal_shares() -> None:
    shares = Counter(allocate("least_loaded", THREE, 3_000)).values()
    assert sum(shares) == 3_000
    assert max(shares) - min(shares) <= 1


def test_least_loaded_evens_out_what_workers_hold() -> None:
    held = {"a": 7, "b": 0, "c": 100}
    given_ = Counter(allocate("least_loaded", [worker(id_, held=n) for id_, n in held.items()], 300))
    totals = [held[id_] + given_[id_] for id_ in held]
    assert sum(totals) == 407
    assert max(totals) - min(totals) <= 1


def test_least_loaded_gives_nothing_to_the_busiest_until_the_others_have_caught_up() -> None:
    assert Counter(allocate("least_loaded", [worker("a", held=100), worker("b")], 100)) == {"b": 100}


def test_least_loaded_gives_shares_in_proportion_to_slots() -> None:
    workers = [worker("a", slots=1), worker("b", slots=2), worker("c", slots=7)]
    shares = Counter(allocate("least_loaded", workers, 3_000))
    assert all(abs(shares[id_] - want) <= 1 for id_, want in {"a": 300, "b": 600, "c": 2_100}.items())


def test_least_loaded_rotates_equals_when_jobs_come_one_at_a_time() -> None:
    strategy = balancer("least_loaded", random.Random(0))
    assert Counter(strategy.allocate(THREE, [Ready()])[0] for _ in range(300)) == {"a": 100, "b": 100, "c": 100}


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20), st.integers(0, 20)), min_size=1), st.integers(0, 60))
def test_least_loaded_always_takes_a_smallest_load_among_those_with_room(
    shape: list[tuple[int, int, int]], count: int
) -> None:
    workers = [worker(f"w{i}", slots=s, held=h, room=r) for i, (s, h, r) in enumerate(shape)]
    now = {w.id: w for w in workers}
    for id_ in allocate("least_loaded", workers, count):
        loads = {w.id: w.held / max(w.slots, 1) for w in now.values() if w.room > 0}
        if id_ is None:
            assert not loads
            continue
        assert loads[id_] == min(loads.values())
        now[id_] = replace(now[id_], held=now[id_].held + 1, room=now[id_].room - 1)


def test_least_loaded_counts_what_other_types_gave_to_a_worker() -> None:
    workers = [worker("a", types=["echo", "mail"]), worker("b", types=["echo"]), worker("c", types=["mail"])]
    jobs = [Ready("mail"), Ready("mail"), Ready("echo"), Ready("echo"), Ready("mail")]
    # a and c one mail each; an echo evens out b; the next finds a and b equal; the last mail finds c the lighter.
    assert balancer("least_loaded", random.Random(0)).allocate(workers, jobs) == ["a", "c", "b", "a", "c"]


# --- random ---


def test_random_is_uniform_within_five_sigma() -> None:
    shares = Counter(allocate("random", THREE, 3_000))
    sigma = math.sqrt(3_000 * (1 / 3) * (2 / 3))
    assert all(abs(shares[w.id] - 1_000) < 5 * sigma for w in THREE)
    assert len(set(shares.values())) > 1  # not a rotation in disguise


def test_random_stays_uniform_among_the_rest_when_a_worker_is_full() -> None:
    shares = Counter(allocate("random", [*THREE, worker("d", room=3)], 3_003))
    assert shares["d"] == 3
    assert all(abs(shares[w.id] - 1_000) < 5 * math.sqrt(3_000 * 2 / 9) for w in THREE)


@pytest.mark.parametrize("seed", range(20))
def test_random_reaches_every_worker_when_only_one_place_is_left_at_each(seed: int) -> None:
    workers = [worker(id_, room=1) for id_ in "abcd"]
    assert set(balancer("random", random.Random(seed)).allocate(workers, [Ready()] * 4)) == set("abcd")


def test_random_is_replayed_by_its_seed() -> None:
    assert allocate("random", THREE, 50) == allocate("random", THREE, 50)


# --- priority ---


def test_priority_fills_the_highest_node_before_the_next_and_breaks_ties_by_id() -> None:
    workers = [
        worker("a", priority=1, room=2),
        worker("c", priority=9, room=2),
        worker("b", priority=9, room=3),
        worker("d", priority=-5, room=2),
    ]
    assert allocate("priority", workers, 10) == ["b", "b", "b", "c", "c", "a", "a", "d", "d", None]


def test_priority_gives_a_job_that_its_best_node_cannot_run_to_the_next_one() -> None:
    workers = [worker("best", priority=9, types=["mail"]), worker("next", priority=1)]
    jobs = [Ready("echo"), Ready("mail")]
    assert balancer("priority", random.Random(0)).allocate(workers, jobs) == ["next", "best"]


# --- what holds for all ---

TYPES = ["echo", "mail", "resize", "nobody's"]

worker_lists = st.lists(
    st.builds(
        WorkerView,
        id=st.text("abcdef", min_size=1, max_size=3),
        node=st.just("n"),
        slots=st.integers(0, 4),
        held=st.integers(0, 6),
        room=st.integers(-1, 5),
        priority=st.integers(-2, 2),
        types=st.frozensets(st.sampled_from(TYPES[:3])),
        solo=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda w: w.id,
)
job_lists = st.lists(st.builds(Ready, type=st.sampled_from(TYPES), suspect=st.booleans()), max_size=30)


def takes(w: WorkerView, job: Ready) -> bool:
    return job.type in w.types and w.solo == job.suspect


@EVERY_STRATEGY
@given(rounds=st.lists(st.tuples(worker_lists, job_lists), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_every_job_gets_a_worker_that_can_take_it_or_nobody_could(
    name: str, rounds: list[tuple[list[WorkerView], list[Ready]]], seed: int
) -> None:
    strategy = balancer(name, random.Random(seed))
    for workers, jobs in rounds:  # the same balancer, while workers come and go
        by_id = {w.id: w for w in workers}
        room = {w.id: w.room for w in workers}
        placed = strategy.allocate(workers, jobs)
        assert len(placed) == len(jobs)
        for job, id_ in zip(jobs, placed, strict=True):
            if id_ is None:
                assert not any(takes(w, job) and room[w.id] > 0 for w in workers), "left out though there was room"
            else:
                assert takes(by_id[id_], job), "given to a worker that must not have it"
                assert room[id_] > 0, "given beyond its room"
                room[id_] -= 1


@EVERY_STRATEGY
@given(workers=worker_lists, jobs=job_lists, seed=st.integers(0, 99))
def test_no_job_is_left_out_while_a_later_one_like_it_is_served(
    name: str, workers: list[WorkerView], jobs: list[Ready], seed: int
) -> None:
    left_out: set[tuple[str, bool]] = set()
    for job, id_ in zip(jobs, balancer(name, random.Random(seed)).allocate(workers, jobs), strict=True):
        kind = (job.type, job.suspect)
        if id_ is None:
            left_out.add(kind)
        else:
            assert kind not in left_out


@EVERY_STRATEGY
def test_a_suspect_runs_only_on_a_solo_worker_and_nothing_else_does(name: str) -> None:
    jobs = [Ready(suspect=True), Ready(), Ready(suspect=True)]
    workers = [worker("solo", solo=True, room=1), worker("plain")]
    assert balancer(name, random.Random(0)).allocate(workers, jobs) == ["solo", "plain", None]


@EVERY_STRATEGY
def test_without_workers_or_jobs_nothing_is_placed(name: str) -> None:
    strategy = balancer(name, random.Random(0))
    assert strategy.allocate([], [Ready(), Ready(suspect=True)]) == [None, None]
    assert strategy.allocate(THREE, []) == []


# --- names and parking ---


def test_the_four_strategies_have_a_line_of_description_each() -> None:
    assert list(STRATEGIES) == ["round_robin", "least_loaded", "random", "priority"]
    assert all(s.description.endswith(".") and "\n" not in s.description for s in STRATEGIES.values())


def test_an_unknown_strategy_is_refused_with_its_name_and_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'fastest'.*round_robin, least_loaded, random, priority"):
        balancer("fastest", random.Random(0))
