"""What fires each alert and what does not, as series in the language of promtool: `0x40` is 0 and forty times more.

A sample comes every 15 seconds. Each case has a twin in the calm, with the same series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

OF: Final = 'cluster="c",node="n1"'


@dataclass(frozen=True)
class Case:
    """`stormy` and `calm`: values of each series. In the storm the alert fires at `at`, with `labels`, and not at
    `before`; in the calm it never does."""

    alert: str
    stormy: Mapping[str, str]
    calm: Mapping[str, str]
    severity: str = "warning"
    before: str = "15s"
    at: str = "30m"
    labels: Mapping[str, str] = field(default_factory=lambda: {"cluster": "c"})

    @property
    def name(self) -> str:
        """For the list of tests."""
        return f"{self.alert}-{self.severity}"


def histogram(name: str, labels: str, quick: str, slow: str) -> dict[str, str]:
    """Two buckets: up to 0.1 s, and up to an hour."""
    return {
        f'{name}_bucket{{{labels},le="0.1"}}': quick,
        f'{name}_bucket{{{labels},le="3600.0"}}': slow,
        f'{name}_bucket{{{labels},le="+Inf"}}': slow,
    }


_UP: Final = 'up{job="hegemon",instance="n1:9090",cluster="c"}'
_OTHER: Final = 'up{job="hegemon",instance="n2:9090",cluster="c"}'
_QUEUE: Final = f'{OF},queue="mail"'
_LATE: Final = "hegemon_job_lateness_seconds"
_LAG: Final = "hegemon_event_loop_lag_seconds"
_FREE: Final = f'hegemon_disk_free_bytes{{{OF},place="stores"}}'
_SIZE: Final = f'hegemon_disk_size_bytes{{{OF},place="stores"}}'
_ENDS: Final = f"hegemon_tls_certificate_expiry_timestamp_seconds{{{OF}}}"
_LEADS: Final = 'hegemon_leader_active{cluster="c",node="%s"}'
_BELIEVES: Final = 'hegemon_election_believes{cluster="c",node="%s"}'
_STORE: Final = 'hegemon_store_up{cluster="c",node="%s",store="redis"}'
_DAY: Final = 86_400


CASES: Final = (
    Case(
        alert="HegemonNotScraped",
        severity="critical",
        stormy={_UP: "0x200", _OTHER: "0x200"},
        calm={_UP: "0x200", _OTHER: "1x200"},
        labels={},
    ),
    Case(
        alert="HegemonNodeDown",
        stormy={_UP: "0x200", _OTHER: "1x200"},
        # Away for one scrape alone.
        calm={_UP: "1x118 0 1x80", _OTHER: "1x200"},
        labels={"cluster": "c", "job": "hegemon", "instance": "n1:9090"},
    ),
    Case(
        alert="HegemonNoActiveLeader",
        severity="critical",
        stormy={_LEADS % "n1": "0x200", _LEADS % "n2": "0x200"},
        calm={_LEADS % "n1": "0x200", _LEADS % "n2": "1x200"},
    ),
    Case(
        alert="HegemonTwoBelievers",
        stormy={_BELIEVES % "n1": "1x200", _BELIEVES % "n2": "1x200"},
        # A change of leaders, seen by the scrapes in a bad order.
        calm={_BELIEVES % "n1": "1x119 0x80", _BELIEVES % "n2": "0x118 1x81"},
    ),
    Case(
        alert="HegemonLeaderChangesOften",
        stormy={f"hegemon_election_leader_changes_total{{{OF}}}": "0+0.2x200"},
        calm={f"hegemon_election_leader_changes_total{{{OF}}}": "0x80 4x120"},
    ),
    Case(
        alert="HegemonFenceRefusals",
        stormy={f'hegemon_fence_refusals_total{{{OF},reason="newer"}}': "0+1x200"},
        calm={f'hegemon_fence_refusals_total{{{OF},reason="newer"}}': "0x100 3x100"},
        labels={"cluster": "c", "reason": "newer"},
    ),
    Case(
        alert="HegemonStoreDown",
        severity="critical",
        stormy={_STORE % "n1": "0x200", _STORE % "n2": "1x200"},
        calm={_STORE % "n1": "1x119 0 1x80", _STORE % "n2": "1x200"},
        labels={"cluster": "c", "store": "redis"},
    ),
    Case(
        alert="HegemonNoWorkers",
        severity="critical",
        stormy={f"hegemon_workers_active{{{OF}}}": "0x200"},
        calm={f"hegemon_workers_active{{{OF}}}": "1x200"},
    ),
    Case(
        alert="HegemonWorkersDie",
        stormy={f"hegemon_worker_deaths_total{{{OF}}}": "0+0.2x200"},
        calm={f"hegemon_worker_deaths_total{{{OF}}}": "0x100 2x100"},
        labels={"cluster": "c", "node": "n1"},
    ),
    Case(
        alert="HegemonQueueWaitsLong",
        stormy={f"hegemon_queue_oldest_age_seconds{{{_QUEUE}}}": "0+15x200"},
        # A batch comes and goes.
        calm={f"hegemon_queue_oldest_age_seconds{{{_QUEUE}}}": "0+15x30 0x30 0+15x30 0x100"},
        labels={"cluster": "c", "queue": "mail"},
    ),
    Case(
        alert="HegemonDeadLetters",
        stormy={
            f'hegemon_jobs_total{{{_QUEUE},outcome="completed"}}': "0+90x200",
            f'hegemon_jobs_total{{{_QUEUE},outcome="failed"}}': "0+10x200",
        },
        # One job in all, and it failed: nothing to wake anybody for.
        calm={
            f'hegemon_jobs_total{{{_QUEUE},outcome="completed"}}': "0x200",
            f'hegemon_jobs_total{{{_QUEUE},outcome="failed"}}': "0x110 1x90",
        },
        labels={"cluster": "c", "queue": "mail"},
    ),
    Case(
        alert="HegemonSchedulesLate",
        stormy=histogram(_LATE, _QUEUE, quick="0+1x200", slow="0+10x200"),
        calm=histogram(_LATE, _QUEUE, quick="0+98x200", slow="0+100x200"),
        labels={"cluster": "c", "queue": "mail"},
    ),
    Case(
        alert="HegemonLoopLag",
        stormy=histogram(_LAG, OF, quick="0+90x200", slow="0+100x200"),
        calm=histogram(_LAG, OF, quick="0+999x200", slow="0+1000x200"),
        labels={"cluster": "c", "node": "n1"},
    ),
    *(
        Case(
            alert="HegemonDiskFillsUp",
            severity=severity,
            stormy={_FREE: f"{free}x200", _SIZE: "100x200"},
            calm={_FREE: f"{enough}x200", _SIZE: "100x200"},
            labels={"cluster": "c", "node": "n1", "place": "stores"},
        )
        for severity, free, enough in (("warning", 14, 16), ("critical", 4, 14))
    ),
    *(
        # The clock of these tests begins in 1970.
        Case(
            alert="HegemonCertificateEnds",
            severity=severity,
            stormy={_ENDS: f"{days * _DAY}x200"},
            calm={_ENDS: f"{(days + 1) * _DAY}x200"},
            labels={"cluster": "c", "node": "n1"},
        )
        for severity, days in (("warning", 14), ("critical", 2))
    ),
)


def objective_series(slo: str, errors: float) -> dict[str, str]:
    """Nine hours, a sample a minute, in which this share goes wrong all the time."""
    good = f"0+{1000 * (1 - errors):g}x540"
    if slo == "leader":
        return {_LEADS % "n1": f"{1 - errors:g}x540"}
    if slo == "api":
        name = f'hegemon_http_requests_total{{{OF},operation="submit",status="%s"}}'
        # A node that is not ready says so with a 503: none of these is an error.
        probes = f'hegemon_http_requests_total{{{OF},operation="getReadiness",status="5xx"}}'
        return {name % "2xx": good, name % "5xx": f"0+{1000 * errors:g}x540", probes: "0+5000x540"}
    name, bound = {"start": ("hegemon_job_wait_duration_seconds", "10.0"), "punctual": (_LATE, "1.0")}[slo]
    return {f'{name}_bucket{{{_QUEUE},le="{bound}"}}': good, f"{name}_count{{{_QUEUE}}}": "0+1000x540"}
