"""The cluster's figures: growth over time, percentiles of histograms, and what nodes tell put together."""

import random

import msgspec
import pytest

from hegemon.cluster.figure_merging import Told, folded, merged
from hegemon.cluster.figure_windows import Window, added, highest, percentiles, quantile
from hegemon.cluster.stat_shapes import LONG_S, SAMPLE_S, Counters, Rate
from hegemon.measures import ENDED, PROCESSING, SERIES_MAX, SUBMITTED, WAIT, Meters
from hegemon.queue.depths import QueueDepth

NOW_MS = 1_800_000_000_000


def told(node: str, meters: Meters | None = None, **fields: object) -> Told:
    """What a node tells that has counted so much within the last 10 s, and nothing before."""
    grown = {"\n".join(key): list(row) for key, row in (meters or Meters()).read()}
    known = {
        "at_ms": NOW_MS,
        "active": False,
        "workers": 1,
        "slots": 10,
        "busy": 3,
        "worker_deaths": 0,
        "loop_lag_ms": 1.0,
        "uptime_s": 100.0,
        "counters": Counters(completed=7),
        "short_s": 10.0,
        "short": {key: row for key, row in grown.items() if key.split("\n")[0] in (SUBMITTED.name, ENDED.name)},
        "long_s": 60.0,
        "long": grown,
    }
    return msgspec.convert({**known, "node": node, **fields}, Told)


def test_growth_is_that_of_the_time_asked_for_whatever_came_before() -> None:
    window, key = Window(0.0), ("submitted", "q")
    for turn in range(1, 101):
        window.add(turn * SAMPLE_S, {key: [turn * 10]})
    now_s = 100 * SAMPLE_S
    assert window.growth(now_s, {key: [1000]}, 10) == (10.0, {key: [50]})
    assert window.growth(now_s, {key: [1000]}, 60) == (60.0, {key: [300]})
    assert window.growth(now_s, {key: [1000], ("submitted", "new"): [4]}, 60)[1]["submitted", "new"] == [4]


def test_a_node_that_has_just_started_tells_of_as_long_as_it_lives() -> None:
    window, key = Window(50.0), ("submitted", "q")
    assert window.growth(54.0, {key: [20]}, 60) == (4.0, {key: [20]})
    assert window.growth(54.0, {}, 60) == (4.0, {})


def test_samples_are_kept_for_the_longest_time_and_not_for_longer() -> None:
    window = Window(0.0)
    for turn in range(1, 1000):
        window.add(turn * SAMPLE_S, {("submitted", "q"): [turn]})
    assert len(window._samples) <= LONG_S / SAMPLE_S + 2


def test_a_percentile_lies_in_the_bucket_of_the_value_that_has_so_many_below_it() -> None:
    rng = random.Random(11)
    values = sorted(rng.lognormvariate(-5, 2) for _ in range(4000))
    meter = Meters().at(PROCESSING, "q")
    meter.observe_all(values)
    found = percentiles(PROCESSING.bounds, list(meter.row))
    assert found.count == 4000
    bounds = (0.0, *PROCESSING.bounds)
    for q, ms in ((0.5, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms)):
        assert ms is not None
        exact = values[int(q * len(values))]
        place = next(i for i, bound in enumerate(bounds) if exact <= bound)
        assert bounds[place - 1] <= ms / 1000 <= bounds[place]


def test_percentiles_of_nothing_are_none_and_beyond_the_last_bound_there_is_no_telling() -> None:
    assert percentiles((1.0, 2.0), [0, 0, 0, 0]).p50_ms is None
    assert quantile((1.0, 2.0), [0, 0, 5], 0.5) == 2.0
    assert highest((1.0, 2.0), [0, 0, 0, 0]) == 0.0
    assert highest((1.0, 2.0), [3, 1, 0, 9]) == 2.0
    assert added([[1, 2], [3, 4]]) == [4, 6]


def test_the_clusters_rates_counters_and_percentiles_are_those_of_all_nodes_together() -> None:
    first, second = Meters(), Meters()
    first.at(SUBMITTED, "a").add(100)
    first.at(ENDED, "a", "completed").add(60)
    second.at(ENDED, "a", "completed").add(30)
    second.at(ENDED, "b", "failed").add(10)
    first.at(WAIT, "a").observe_all([0.02] * 99)
    second.at(WAIT, "b").observe(20.0)
    found = merged([told("n2", second), told("n1", first, at_ms=NOW_MS - 1500)], NOW_MS, ["n3"])
    assert found.rates.submitted == Rate(10.0, round(100 / 60, 3))
    assert found.rates.completed == Rate(9.0, 1.5)
    assert found.rates.failed == Rate(1.0, round(10 / 60, 3))
    assert found.counters.completed == 14
    assert found.wait.count == 100
    assert found.wait.p50_ms == pytest.approx(17.6, abs=0.1)
    assert [(node.id, node.age_s) for node in found.nodes] == [("n1", 1.5), ("n2", 0.0)]
    assert [queue.name for queue in found.queues] == ["a", "b"]
    assert found.queues[0].rates.completed == Rate(9.0, 1.5)
    assert (found.queues[1].wait.count, found.queues[1].rates.failed.last_10s) == (1, 1.0)
    assert found.missing == ["n3"]
    assert (found.depth_age_s, found.queues[0].ready) == (None, None), "no leader has looked: that is not nothing"


def test_depths_are_the_leaders_and_a_queue_that_it_does_not_name_holds_nothing() -> None:
    meters = Meters()
    meters.at(SUBMITTED, "empty").add()
    depth = QueueDepth("a", 5, 4, 3, 2, 1.5)
    told_before = told("n2", depths_at_ms=NOW_MS - 9000, depths=[QueueDepth("a", 9, 9, 9, 9, 9.0)])
    found = merged([told("n1", meters, depths_at_ms=NOW_MS - 2500, depths=[depth]), told_before], NOW_MS, [])
    queues = {queue.name: queue for queue in found.queues}
    assert found.depth_age_s == 2.5
    assert (queues["a"].ready, queues["a"].delayed, queues["a"].held, queues["a"].parked) == (5, 4, 3, 2)
    assert queues["a"].oldest_age_s == 1.5
    assert (queues["empty"].ready, queues["empty"].oldest_age_s) == (0, None)


def test_queues_beyond_the_bound_are_told_of_as_one() -> None:
    depths = [QueueDepth(f"q{i:03}", 1, 0, 0, 0, float(i)) for i in range(SERIES_MAX + 20)]
    found = merged([told("n1", depths_at_ms=NOW_MS, depths=depths)], NOW_MS, [])
    assert len(found.queues) == SERIES_MAX + 1
    (rest,) = [queue for queue in found.queues if queue.name == "other"]
    assert (rest.ready, rest.oldest_age_s) == (20, 119.0)


def test_a_leader_tells_of_no_more_queues_than_the_bound_and_of_the_rest_as_one() -> None:
    found = [QueueDepth(f"q{i:03}", 1, 0, 0, 0, float(i)) for i in range(SERIES_MAX + 20)]
    assert folded(found[:SERIES_MAX], set()) == found[:SERIES_MAX]
    told_of = folded([*found, QueueDepth("other", 7, 0, 0, 0, None)], {"q119"})
    assert len(told_of) == SERIES_MAX + 1
    assert "q119" in {one.queue for one in told_of}
    assert (told_of[-1].queue, told_of[-1].ready, told_of[-1].oldest_age_s) == ("other", 27, 118.0)
    assert sum(one.ready for one in told_of) == SERIES_MAX + 27


def test_of_a_queue_that_the_leader_may_have_folded_nobody_says_that_it_is_empty() -> None:
    meters = Meters()
    meters.at(SUBMITTED, "elsewhere").add()
    depths = folded([QueueDepth(f"q{i:03}", 1, 0, 0, 0, 1.0) for i in range(SERIES_MAX + 20)], set())
    found = merged([told("n1", meters, depths_at_ms=NOW_MS, depths=depths)], NOW_MS, [])
    queues = {queue.name: queue for queue in found.queues}
    assert (queues["elsewhere"].ready, queues["elsewhere"].rates.submitted.last_10s) == (None, 0.1)
    assert queues["q000"].ready == 1


def test_what_a_node_of_a_later_version_tells_beyond_what_we_know_is_left_out() -> None:
    later = told("n1", long={"unheard-of\nq": [1, 2, 3], "wait\nq": [1, 2]}, short={"unheard-of\nq": [1]})
    found = merged([later], NOW_MS, [])
    assert (found.wait.count, found.rates.submitted) == (0, Rate())
