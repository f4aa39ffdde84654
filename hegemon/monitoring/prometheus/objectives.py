"""Service level objectives: what share of what has to go well, and the alerts on how fast the rest is used up.

Each objective has an error ratio over several windows, as recording rules with one name a window:
`hegemon:slo_errors:ratio_rate5m{cluster, slo}`. Where nothing happened there was no error. Alerts look at two windows
at once, as the SRE workbook has it: the long one for that it matters, the short one for that it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hegemon.monitoring.prometheus.rule import Alert, Group, Recording

WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")
LEADING: Final = "cluster:hegemon_leader_active:bool"


@dataclass(frozen=True)
class Objective:
    """`target`: the share that has to go well. `total` and `good` select the counters of all and of what went well;
    without them it is the time in which a leader was active."""

    name: str
    title: str
    promise: str
    target: float
    good: str = ""
    total: str = ""

    @property
    def budget(self) -> float:
        """The share that may go wrong."""
        return round(1 - self.target, 6)

    def errors(self, window: str) -> str:
        """The share that went wrong, by cluster."""
        if not self.total:
            return f"1 - avg_over_time({LEADING}[{window}])"
        total = f"sum by (cluster) (rate({self.total}[{window}]))"
        good = f"sum by (cluster) (rate({self.good}[{window}]))"
        # Where all went wrong from the first on, what went well has no series: that is none of them, and not unknown.
        return f"1 - ({good} or 0 * {total}) / ({total} > 0)\nor\n0 * {total}"


# Not the probes: a node that is not ready yet says so with a 503, which is no failure.
_ASKED: Final = 'operation!~"get(Liveness|Readiness|Health|Metrics)"'

OBJECTIVES: Final = (
    Objective(
        name="leader",
        title="A leader is active",
        promise="99.9% of the time, one node leads and reaches both stores.",
        target=0.999,
    ),
    Objective(
        name="api",
        title="The API answers",
        promise="99.9% of the requests are answered, and not with a 5xx; probes and scrapes left out.",
        target=0.999,
        good=f'hegemon_http_requests_total{{status!="5xx",{_ASKED}}}',
        total=f"hegemon_http_requests_total{{{_ASKED}}}",
    ),
    Objective(
        name="start",
        title="Jobs start soon",
        promise="95% of the jobs start within 10 s of the moment from which they may.",
        target=0.95,
        good='hegemon_job_wait_duration_seconds_bucket{le="10.0"}',
        total="hegemon_job_wait_duration_seconds_count",
    ),
    Objective(
        name="punctual",
        title="Scheduled jobs are punctual",
        promise="99% of the jobs with a due time start within 1 s of it.",
        target=0.99,
        good='hegemon_job_lateness_seconds_bucket{le="1.0"}',
        total="hegemon_job_lateness_seconds_count",
    ),
)


@dataclass(frozen=True)
class _Burn:
    """How many times faster than allowed; a month's budget is gone in 30 days divided by that."""

    alert: str
    severity: str
    rate: float
    long: str
    short: str
    hold: str
    gone: str


_BURNS: Final = (
    _Burn("HegemonSloBurnsFast", "critical", 14.4, "1h", "5m", "2m", "two days"),
    _Burn("HegemonSloBurnsFast", "critical", 6.0, "6h", "30m", "15m", "five days"),
    _Burn("HegemonSloBurnsSlowly", "warning", 1.0, "3d", "6h", "1h", "a month or less"),
)


def recordings() -> Group:
    """The error ratios, and what they are measured against."""
    rules = [Recording(LEADING, "clamp_max(sum by (cluster) (hegemon_leader_active), 1)")]
    for one in OBJECTIVES:
        rules.append(Recording("hegemon:slo_objective:ratio", f"vector({one.target:g})", {"slo": one.name}))
        rules += [Recording(errors_of(window), one.errors(window), {"slo": one.name}) for window in WINDOWS]
    return Group("hegemon-objectives", tuple(rules))


def errors_of(window: str) -> str:
    """The name of the recorded series."""
    return f"hegemon:slo_errors:ratio_rate{window}"


def burns() -> Iterator[Alert]:
    """The alerts, for each objective by itself; a rate that no ratio can reach has none."""
    for one in OBJECTIVES:
        for burn in _BURNS:
            limit = round(burn.rate * one.budget, 6)
            if limit >= 1:
                continue
            over = f'{{slo="{one.name}"}} > {limit:g}'
            yield Alert(
                name=burn.alert,
                expr=f"{errors_of(burn.long)}{over}\nand\n{errors_of(burn.short)}{over}",
                hold=burn.hold,
                severity=burn.severity,
                summary=f"{one.title}: the budget of cluster {{{{ $labels.cluster }}}} burns",
                description=f"{{{{ $value | humanizePercentage }}}} went wrong in {burn.long}, and it goes on. "
                f"The objective: {one.promise} At this rate, a month's budget is gone in {burn.gone}.",
                labels={"slo": one.name, "window": burn.long},
            )
