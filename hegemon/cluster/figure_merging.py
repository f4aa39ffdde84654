"""What each node tells of itself, put together to the figures of the cluster. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from hegemon.cluster.figure_windows import added, percentiles
from hegemon.cluster.stat_shapes import (
    ClusterFigures,
    Counters,
    NodeFigures,
    Percentiles,
    QueueFigures,
    Rate,
    Rates,
)
from hegemon.measures import (
    ENDED,
    LATENESS,
    MEASURES,
    OTHER,
    PROCESSING,
    SERIES_MAX,
    SUBMITTED,
    WAIT,
    Measure,
    Names,
)
from hegemon.queue.depths import QueueDepth


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one node tells. `short` and `long`: by how much its series (names joined by line breaks) have grown in the
    last `short_s` and `long_s` seconds. `depths` are the active leader's: of all queues that hold something,
    `folded` where there are more than SERIES_MAX."""

    node: str
    at_ms: int
    active: bool
    workers: int
    slots: int
    busy: int
    worker_deaths: int
    loop_lag_ms: float
    uptime_s: float
    counters: Counters
    short_s: float
    short: dict[str, list[int]]
    long_s: float
    long: dict[str, list[int]]
    depths_at_ms: int | None = None
    depths: list[QueueDepth] = []


_RATES: Final = ("submitted", "completed", "failed", "retried", "cancelled")
# (queue, name of a rate) -> a second, over the short time and over the long one.
_Speeds = dict[tuple[str, str], list[float]]


def merged(told: Sequence[Told], now_ms: int, missing: list[str]) -> ClusterFigures:
    """The cluster's figures of what its nodes tell."""
    names = Names()
    speeds = [_speeds(one, names.of) for one in told]
    of_queues = _of_queues(speeds)
    rows = _rows(told, names.of)
    leader = max((one for one in told if one.depths_at_ms is not None), key=_found_at, default=None)
    depths = {} if leader is None else _depths(leader.depths, names.of)
    all_named = leader is not None and len(leader.depths) <= SERIES_MAX
    queues = sorted({*depths, *of_queues, *(queue for _, queue in rows)})
    return ClusterFigures(
        counters=Counters(*(sum(column) for column in zip(*(_values(one.counters) for one in told), strict=True))),
        rates=_rates(speeds),
        wait=_percentiles(rows, WAIT),
        processing=_percentiles(rows, PROCESSING),
        lateness=_percentiles(rows, LATENESS),
        queues=[
            _queue(queue, depths.get(queue), _rates(of_queues.get(queue, ())), rows, all_named) for queue in queues
        ],
        nodes=[
            _node(one, now_ms, _rates([of_one])) for one, of_one in sorted(zip(told, speeds, strict=True), key=_by_name)
        ],
        missing=missing,
        depth_age_s=None if leader is None else max(now_ms - _found_at(leader), 0) / 1000,
    )


def _by_name(pair: tuple[Told, _Speeds]) -> str:
    return pair[0].node


def _found_at(told: Told) -> int:
    return told.depths_at_ms or 0


def _values(counters: Counters) -> list[int]:
    return [getattr(counters, name) for name in Counters.__struct_fields__]


def _speeds(told: Told, name_of: Callable[[str], str]) -> _Speeds:
    speeds: _Speeds = defaultdict(lambda: [0.0, 0.0])
    for place, (seconds, grown) in enumerate(((told.short_s, told.short), (told.long_s, told.long))):
        for joined, row in grown.items():
            measure, *labels = joined.split("\n")
            if measure in (SUBMITTED.name, ENDED.name):
                rate = "submitted" if measure == SUBMITTED.name else labels[1]
                speeds[name_of(labels[0]), rate][place] += row[0] / seconds
    return speeds


def _of_queues(speeds: Iterable[_Speeds]) -> dict[str, list[_Speeds]]:
    """The same by queue, so that a hundred queues are not looked for a hundred times in all that there is."""
    found: dict[str, list[_Speeds]] = defaultdict(list)
    for one in speeds:
        for (queue, name), both in one.items():
            found[queue].append({(queue, name): both})
    return found


def _rates(speeds: Iterable[_Speeds]) -> Rates:
    """The sum of these."""
    sums = {name: [0.0, 0.0] for name in _RATES}
    for one in speeds:
        for (_, name), (short, long) in one.items():
            if name in sums:
                sums[name][0] += short
                sums[name][1] += long
    return Rates(**{name: Rate(round(short, 3), round(long, 3)) for name, (short, long) in sums.items()})


def _rows(told: Iterable[Told], name_of: Callable[[str], str]) -> dict[tuple[str, str], list[int]]:
    """Histograms of the last minute: (measure, queue) -> its buckets and its sum."""
    found: dict[tuple[str, str], list[list[int]]] = defaultdict(list)
    for one in told:
        for joined, row in one.long.items():
            measure, *labels = joined.split("\n")
            known = MEASURES.get(measure)
            if known is not None and known.bounds and known.named and len(row) == known.width:
                found[measure, name_of(labels[0])].append(row)
    return {key: added(rows) for key, rows in found.items()}


def _percentiles(rows: Mapping[tuple[str, str], list[int]], measure: Measure, queue: str | None = None) -> Percentiles:
    if queue is not None:
        row = rows.get((measure.name, queue))
        return percentiles(measure.bounds, row) if row else Percentiles()
    found = [row for (name, _), row in rows.items() if name == measure.name]
    return percentiles(measure.bounds, added(found)) if found else Percentiles()


def folded(found: Sequence[QueueDepth], first: AbstractSet[str]) -> list[QueueDepth]:
    """As they are if there are SERIES_MAX at most; else one more than that: so many by name, those of `first` before
    others, and the sum of all the rest as OTHER."""
    if len(found) <= SERIES_MAX:
        return list(found)
    names = Names()
    for queue in sorted((one.queue for one in found), key=lambda queue: (queue not in first, queue)):
        if queue != OTHER:
            names.of(queue)
    return sorted(_depths(found, names.of).values(), key=lambda one: (one.queue == OTHER, one.queue))


def _depths(found: Iterable[QueueDepth], name_of: Callable[[str], str]) -> dict[str, QueueDepth]:
    """By queue, those beyond the bound added up."""
    depths: dict[str, QueueDepth] = {}
    for one in found:
        name = name_of(one.queue)
        known = depths.get(name)
        if known is None:
            depths[name] = msgspec.structs.replace(one, queue=name)
            continue
        ages = [age for age in (known.oldest_age_s, one.oldest_age_s) if age is not None]
        depths[name] = QueueDepth(
            name,
            known.ready + one.ready,
            known.delayed + one.delayed,
            known.held + one.held,
            known.parked + one.parked,
            max(ages, default=None),
        )
    return depths


def _queue(
    name: str,
    depth: QueueDepth | None,
    rates: Rates,
    rows: Mapping[tuple[str, str], list[int]],
    all_named: bool,
) -> QueueFigures:
    wait, processing = _percentiles(rows, WAIT, name), _percentiles(rows, PROCESSING, name)
    if depth is None and not all_named:
        return QueueFigures(name=name, rates=rates, wait=wait, processing=processing)
    # Where the leader names all that hold something, one that it has not named holds nothing.
    depth = depth or QueueDepth(name, 0, 0, 0, 0, None)
    return QueueFigures(
        name=name,
        ready=depth.ready,
        delayed=depth.delayed,
        held=depth.held,
        parked=depth.parked,
        oldest_age_s=depth.oldest_age_s,
        rates=rates,
        wait=wait,
        processing=processing,
    )


def _node(told: Told, now_ms: int, rates: Rates) -> NodeFigures:
    return NodeFigures(
        id=told.node,
        age_s=max(now_ms - told.at_ms, 0) / 1000,
        active=told.active,
        workers=told.workers,
        slots=told.slots,
        busy=told.busy,
        worker_deaths=told.worker_deaths,
        loop_lag_ms=told.loop_lag_ms,
        uptime_s=told.uptime_s,
        counters=told.counters,
        rates=rates,
    )
