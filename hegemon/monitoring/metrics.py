"""What a node counts, for Prometheus. Values are read when they are scraped, so the hot paths carry no metric calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class _Supervisor(Protocol):
    deaths: int

    @property
    def workers(self) -> object: ...

    def counters(self) -> dict[str, int]: ...


class _Office(Protocol):
    @property
    def is_active(self) -> bool: ...


class _Pulse(Protocol):
    depth: int
    epoch: int
    generation: int
    lag_s: float


class _Submitter(Protocol):
    depth: int


class NodeMetrics(Collector):
    """One node's metrics; `render()` is the text that `/metrics` answers with."""

    def __init__(
        self,
        *,
        node: str,
        supervisor: _Supervisor,
        office: _Office,
        pulse: _Pulse,
        submitter: _Submitter,
        certificate_ends_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._node = node
        self._supervisor = supervisor
        self._office = office
        self._pulse = pulse
        self._submitter = submitter
        self._certificate_ends_s = certificate_ends_s
        self._started_s = time.monotonic()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """See the documentation of prometheus-client's custom collectors."""
        totals = self._supervisor.counters()
        jobs = CounterMetricFamily("hegemon_jobs", "Jobs that ended here, by outcome", labels=["node", "outcome"])
        for outcome in ("completed", "failed", "retried", "refused"):
            jobs.add_metric([self._node, outcome], totals[outcome])
        yield jobs
        yield self._counter("hegemon_jobs_taken", "Jobs taken from inboxes", totals["taken"])
        yield self._counter("hegemon_worker_deaths", "Worker processes that died", self._supervisor.deaths)
        yield self._gauge("hegemon_index_jobs", "Jobs in the index, as the last beat saw it", self._pulse.depth)
        yield self._gauge(
            "hegemon_leader_active", "1 while this node leads and its counter moves", self._office.is_active
        )
        yield self._gauge("hegemon_epoch", "Epoch of the office, as the last beat saw it", self._pulse.epoch)
        yield self._gauge("hegemon_index_generation", "Generation of the index", self._pulse.generation)
        yield self._gauge("hegemon_loop_lag_seconds", "How late the control loop last turned", self._pulse.lag_s)
        if (ends_s := self._certificate_ends_s()) is not None:
            name = "hegemon_tls_certificate_expiry_timestamp_seconds"
            yield self._gauge(name, "When the API's certificate ends, in seconds since 1970", ends_s)
        yield self._gauge("hegemon_node_uptime_seconds", "Since this node started", time.monotonic() - self._started_s)

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["node"])
        family.add_metric([self._node], value)
        return family

    def _counter(self, name: str, text: str, value: float) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text, labels=["node"])
        family.add_metric([self._node], value)
        return family
