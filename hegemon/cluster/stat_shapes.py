"""The figures of `GET /api/v1/stats` beside the plain counts: what they are called, and how old each may be.

Every node samples its own counters every SAMPLE_S and tells the others by Redis. So whoever is asked answers for the
whole cluster: of itself as of now, of another node as of at most SAMPLE_S before, as long as that node lives.
"""

from __future__ import annotations

from typing import Final

import msgspec

SAMPLE_S: Final = 2.0
SHORT_S: Final = 10
LONG_S: Final = 60


class Rate(msgspec.Struct, frozen=True):
    """A second, on average over the last 10 s and over the last 60 s; over less where a node has just started."""

    last_10s: float = 0.0
    last_60s: float = 0.0


class Counters(msgspec.Struct, frozen=True):
    """Since their start, of the nodes that live: so they fall when one leaves. `submitted`: accepted jobs. `taken`: by
    workers. Of tries that ended: `completed`, `failed` (dead letters), `retried`; `stale`: ends that were refused."""

    submitted: int = 0
    taken: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    stale: int = 0


class Rates(msgspec.Struct, frozen=True):
    """How fast the `Counters` of the same names grow."""

    submitted: Rate = Rate()
    completed: Rate = Rate()
    failed: Rate = Rate()
    retried: Rate = Rate()
    cancelled: Rate = Rate()


class Percentiles(msgspec.Struct, frozen=True):
    """Of the `count` durations that ended within the last 60 s, in ms; null where there was none. They are read from
    histograms, and so are exact to the width of a bucket only (docs/metrics.md has the buckets)."""

    count: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class QueueFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. `ready`, `delayed`, `held`, `parked` and `oldest_age_s` (for how long the oldest job that could run
    has waited; null for none) are what the leader last found; null while none did. `wait` is from when a job could run
    to its start, `processing` how long its handler ran. The queue `other` stands for all beyond the first 100."""

    name: str
    ready: int | None = None
    delayed: int | None = None
    held: int | None = None
    parked: int | None = None
    oldest_age_s: float | None = None
    rates: Rates = Rates()
    wait: Percentiles = Percentiles()
    processing: Percentiles = Percentiles()


class NodeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `age_s`: how old its figures are. `busy` of its `slots` run a job; `active`: it leads and dispatches;
    `loop_lag_ms`: how late its control loop turned at most within the last 60 s, by bucket."""

    id: str
    age_s: float
    active: bool
    workers: int
    slots: int
    busy: int
    worker_deaths: int
    loop_lag_ms: float
    uptime_s: float
    counters: Counters
    rates: Rates


class ClusterFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes together. `missing` names members whose figures are not there: they are in none of these. `lateness`
    is that of scheduled jobs: from when they were due to their start. `depth_age_s`: how old the queues' depths and
    ages are; null while there is no leader that has looked."""

    counters: Counters = Counters()
    rates: Rates = Rates()
    wait: Percentiles = Percentiles()
    processing: Percentiles = Percentiles()
    lateness: Percentiles = Percentiles()
    queues: list[QueueFigures] = []
    nodes: list[NodeFigures] = []
    missing: list[str] = []
    depth_age_s: float | None = None
