"""Metrics as prometheus-client writes them: the table's families, filled with what was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hegemon.measures import MICRO, Key, Measure
from hegemon.monitoring.metric_table import COMMON, FAMILIES, Family, Kind

# One series of a family: the values of its labels beside the common ones, and its own.
Series = tuple[tuple[str, ...], float]


class Page(Collector):
    """One scrape. `common` are the values of COMMON; `read` has the series of families by name, `measured` those of
    families with a measure."""

    def __init__(
        self, common: list[str], read: Mapping[str, Sequence[Series]], measured: Mapping[Key, Sequence[int]]
    ) -> None:
        self._common = common
        self._read = read
        self._measured: dict[str, dict[Key, Sequence[int]]] = {}
        for key, row in measured.items():
            self._measured.setdefault(key[0], {})[key[1:]] = row

    def collect(self) -> Iterator[Metric]:
        """See the documentation of prometheus-client's custom collectors."""
        for name, family in FAMILIES.items():
            if family.measure is None:
                yield self._metric(family, self._read[name])
                continue
            rows = _whole(family.measure, self._measured.get(family.measure.name, {}))
            if family.kind is Kind.HISTOGRAM:
                yield self._histogram(family, rows)
            else:
                yield self._metric(family, [(labels, row[0]) for labels, row in rows.items()])

    def _metric(self, family: Family, series: Sequence[Series]) -> Metric:
        make = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
        # The client writes the `_total` of counters itself.
        name = family.name.removesuffix("_total")
        metric = make(name, family.help, labels=[*COMMON, *family.labels], unit=family.unit)
        for labels, value in series:
            metric.add_metric([*self._common, *labels], value)
        return metric

    def _histogram(self, family: Family, rows: Mapping[Key, Sequence[int]]) -> Metric:
        metric = HistogramMetricFamily(family.name, family.help, labels=[*COMMON, *family.labels], unit=family.unit)
        ends = [*(str(float(bound)) for bound in family.bounds), "+Inf"]
        for labels, row in rows.items():
            buckets, total = [], 0
            for end, n in zip(ends, row[:-1], strict=True):
                total += n
                buckets.append((end, total))
            metric.add_metric([*self._common, *labels], buckets, row[-1] / MICRO)
        return metric


def _whole(measure: Measure, rows: Mapping[Key, Sequence[int]]) -> dict[Key, Sequence[int]]:
    """With the series that are to be seen before anything was counted for them."""
    nothing = [0] * measure.width
    found = dict(rows)
    if not measure.labels:
        found.setdefault((), nothing)
    for first in {key[:-1] for key in rows} if measure.named else {()}:
        for value in measure.known:
            found.setdefault((*first, value), nothing)
    return found
