"""Series over time: samples of counters that only grow, and what is read from their growth. No store, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

from hegemon.cluster.stat_shapes import LONG_S, SAMPLE_S, Percentiles
from hegemon.measures import Key

Series = Mapping[Key, Sequence[int]]


class Window:
    """The samples of the last LONG_S. It begins with nothing at `started_s`, when all counters were 0."""

    def __init__(self, started_s: float) -> None:
        self._samples: deque[tuple[float, dict[Key, tuple[int, ...]]]] = deque([(started_s, {})])

    def add(self, at_s: float, series: Series) -> None:
        """One more sample. What has not grown is kept once."""
        last = self._samples[-1][1]
        sample = {key: tuple(row) for key, row in series.items()}
        self._samples.append((at_s, {k: last[k] if last.get(k) == row else row for k, row in sample.items()}))
        while len(self._samples) > 2 and at_s - self._samples[1][0] >= LONG_S:
            self._samples.popleft()

    def growth(self, at_s: float, series: Series, within_s: float) -> tuple[float, dict[Key, list[int]]]:
        """By how much each series has grown in about `within_s`, and in how many seconds that was: from the newest
        sample that is so old, or from the oldest that there is."""
        since_s, before = self._samples[0]
        for sampled_s, sample in reversed(self._samples):
            if at_s - sampled_s >= within_s - SAMPLE_S / 2:
                since_s, before = sampled_s, sample
                break
        grown: dict[Key, list[int]] = {}
        for key, row in series.items():
            earlier = before.get(key)
            more = list(row) if earlier is None else [n - m for n, m in zip(row, earlier, strict=True)]
            if any(more):
                grown[key] = more
        return max(at_s - since_s, 1e-3), grown


def added(rows: Sequence[Sequence[int]]) -> list[int]:
    """The sum of the same series of several processes or queues."""
    return [sum(column) for column in zip(*rows, strict=True)]


def percentiles(bounds: Sequence[float], row: Sequence[int]) -> Percentiles:
    """Of a histogram in seconds: its buckets, then its sum."""
    counts = row[: len(bounds) + 1]
    count = sum(counts)
    if count == 0:
        return Percentiles()
    p50, p95, p99 = (round(1000 * quantile(bounds, counts, q), 3) for q in (0.5, 0.95, 0.99))
    return Percentiles(count, p50, p95, p99)


def quantile(bounds: Sequence[float], counts: Sequence[int], q: float) -> float:
    """As Prometheus' histogram_quantile has it: straight lines within a bucket; what lies beyond the last bound counts
    as that."""
    rank = q * sum(counts)
    below = 0
    for (lower, upper), n in zip(pairwise((0.0, *bounds)), counts, strict=False):
        if n and below + n >= rank:
            return lower + (upper - lower) * (rank - below) / n
        below += n
    return bounds[-1]


def highest(bounds: Sequence[float], row: Sequence[int]) -> float:
    """The upper end of the highest bucket that holds something; 0 for none."""
    found = [place for place, n in enumerate(row[: len(bounds) + 1]) if n]
    return bounds[min(found[-1], len(bounds) - 1)] if found else 0.0
