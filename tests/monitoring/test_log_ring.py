"""A node's last lines: bounded, found again by what they are about, and read on from where one was."""

import json
from typing import Any

import pytest

from hegemon.cluster.log_ports import LogFilter
from hegemon.monitoring.log_ring import LogRing
from hegemon.monitoring.long_lines import LINE_MAX

ALL = LogFilter()


def keep(ring: LogRing, event: str, level: str = "info", **fields: Any) -> None:
    ring.keep(level, json.dumps({"timestamp": "2026-11-23T12:00:00.000000Z", "level": level, "event": event, **fields}))


def events(ring: LogRing, which: LogFilter = ALL, *, limit: int = 1000, after: str | None = None) -> list[str]:
    return [line["event"] for line in ring.page(which, limit=limit, after=after).lines]


def test_the_newest_are_given_oldest_first_and_reading_on_misses_none() -> None:
    ring = LogRing(1 << 20)
    for number in range(5):
        keep(ring, f"e{number}")
    page = ring.page(ALL, limit=2, after=None)
    assert [line["event"] for line in page.lines] == ["e3", "e4"]
    keep(ring, "e5")
    keep(ring, "e6")
    assert events(ring, limit=1, after=page.following) == ["e5"]
    following = ring.page(ALL, limit=1, after=page.following).following
    assert events(ring, after=following) == ["e6"]
    assert ring.page(ALL, limit=9, after=following).missed == 0


def test_what_fell_out_is_counted_once_by_who_reads_on() -> None:
    ring = LogRing(1 << 20, lines_max=4)
    keep(ring, "first")
    place = ring.page(ALL, limit=9, after=None).following
    for number in range(6):
        keep(ring, f"e{number}")
    page = ring.page(ALL, limit=1, after=place)
    assert ([line["event"] for line in page.lines], page.missed) == (["e2"], 2)
    rest = ring.page(ALL, limit=9, after=page.following)
    assert ([line["event"] for line in rest.lines], rest.missed) == (["e3", "e4", "e5"], 0)


def test_memory_is_bounded_and_talking_jobs_leave_room_for_the_node() -> None:
    ring = LogRing(100_000)
    for number in range(100):
        keep(ring, f"node {number}")
    for number in range(2000):
        keep(ring, f"job {number}", job="a", text="x" * 50)
    kept = events(ring)
    assert [event for event in kept if event.startswith("node")] == [f"node {number}" for number in range(100)]
    assert kept[-1] == "job 1999"
    assert sum(len(event) + 200 for event in kept) <= 100_000
    # And the other way round.
    for number in range(2000):
        keep(ring, f"later {number}", text="x" * 50)
    kept = events(ring)
    assert 50 < sum(event.startswith("job") for event in kept) < 1000


def test_a_place_of_an_earlier_life_begins_at_the_beginning() -> None:
    before, now = LogRing(1 << 20), LogRing(1 << 20)
    for ring in (before, now):
        keep(ring, "one")
    assert events(now, after=before.page(ALL, limit=1, after=None).following) == ["one"]


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (LogFilter(level="warning"), ["bad", "worse"]),
        (LogFilter(level="error"), ["worse"]),
        (LogFilter(job="a"), ["of a"]),
        (LogFilter(request="r"), ["of a", "worse"]),
        (LogFilter(grep="WÖRD"), ["bad"]),
        (LogFilter(since="2026-11-23T12:00:00.000000Z"), ["fine", "of a", "bad", "worse"]),
        (LogFilter(since="2026-11-23T12:00:01.000000Z"), []),
        (LogFilter(job="a", level="warning"), []),
    ],
)
def test_lines_are_found_by_what_they_are_about(which: LogFilter, found: list[str]) -> None:
    ring = LogRing(1 << 20)
    keep(ring, "fine")
    keep(ring, "of a", job="a", request_id="r")
    keep(ring, "bad", "warning", text="a wörd in it", other="a")
    keep(ring, "worse", "error", request_id="r", job="b")
    assert events(ring, which) == found


def test_a_long_line_is_cut_and_stays_a_line() -> None:
    ring = LogRing(1 << 20)
    keep(ring, "long", job="a", exception="x" * 50_000, many=[f"{number}" for number in range(5000)])
    keep(ring, "wide", job="a", **{f"field{number}": "y" * 900 for number in range(40)})
    long, wide = ring.page(ALL, limit=9, after=None).lines
    assert (long["event"], long["job"], long["cut"]) == ("long", "a", True)
    assert (wide["event"], wide["job"], wide["cut"]) == ("wide", "a", True)
    assert all(len(json.dumps(line)) < LINE_MAX for line in (long, wide))


def test_none_is_kept_where_that_is_not_wanted() -> None:
    ring = LogRing(0)
    keep(ring, "gone")
    assert events(ring) == []
