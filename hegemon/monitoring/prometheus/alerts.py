"""The alerts: what somebody has to look at, and nothing else. Each has a runbook, docs/runbooks/NAME.md.

`critical`: jobs stand still, or soon will. `warning`: it can wait until the morning. An alert is about the cluster, a
queue or a node, and says which in its labels.
"""

from __future__ import annotations

from typing import Final

from hegemon.monitoring.prometheus.objectives import burns
from hegemon.monitoring.prometheus.rule import Alert, Group

_HERE: Final = "of cluster {{ $labels.cluster }}"

_CLUSTER: Final = (
    Alert(
        name="HegemonNotScraped",
        expr='absent(up{job="hegemon"} == 1)',
        hold="2m",
        severity="critical",
        summary="Prometheus reaches no node of Hegemon",
        description="No target of the scrape job `hegemon` answers: all nodes are down, or the scrape is set up "
        "wrongly. Every other alert is blind.",
    ),
    Alert(
        name="HegemonNodeDown",
        expr='up{job="hegemon"} == 0',
        hold="1m",
        severity="warning",
        summary="{{ $labels.instance }} does not answer",
        description="The node at {{ $labels.instance }} has not answered a scrape for a minute. Its jobs go to others "
        "once its lease is over; with Raft, a majority must remain.",
    ),
    Alert(
        name="HegemonNoActiveLeader",
        expr="sum by (cluster) (hegemon_leader_active) == 0",
        hold="30s",
        severity="critical",
        summary=f"Nobody leads {_HERE[3:]}",
        description="No node is elected, or the elected one lacks a store. Jobs are accepted, and none is dispatched.",
    ),
    Alert(
        name="HegemonTwoBelievers",
        expr="sum by (cluster) (hegemon_election_believes) > 1",
        hold="1m",
        severity="warning",
        summary="{{ $value }} nodes " + _HERE + " believe that they lead",
        description="The fence lets only the holder of the newest epoch dispatch, so no job is harmed; but an election "
        "that does not settle hints at nodes that cannot hear each other.",
    ),
    Alert(
        name="HegemonLeaderChangesOften",
        expr="max by (cluster) (increase(hegemon_election_leader_changes_total[15m])) > 6",
        hold="1m",
        severity="warning",
        summary=f"The leader {_HERE} changes again and again",
        description="{{ $value | humanize }} changes in 15 minutes. Each one stops the dispatch for a moment.",
    ),
    Alert(
        name="HegemonFenceRefusals",
        expr="sum by (cluster, reason) (increase(hegemon_fence_refusals_total[10m])) > 5",
        hold="5m",
        severity="warning",
        summary=f"The fence {_HERE} refuses again and again",
        description="{{ $value | humanize }} calls of a leader were refused in 10 minutes, since the marker in Redis "
        "was {{ $labels.reason }}. They changed nothing. One or two belong to a change of leaders or a loss of Redis.",
    ),
    Alert(
        name="HegemonStoreDown",
        expr="count by (cluster, store) (hegemon_store_up == 0)",
        hold="30s",
        severity="critical",
        summary="{{ $labels.store }} " + _HERE + " does not answer",
        description="{{ $value }} node(s) get no answer from {{ $labels.store }}. Without MongoDB no job is accepted; "
        "without Redis none is dispatched.",
    ),
)

_WORK: Final = (
    Alert(
        name="HegemonNoWorkers",
        expr="sum by (cluster) (hegemon_workers_active) == 0",
        hold="1m",
        severity="critical",
        summary=f"No worker process {_HERE} is open",
        description="Jobs are accepted, and none runs.",
    ),
    Alert(
        name="HegemonWorkersDie",
        expr="sum by (cluster, node) (increase(hegemon_worker_deaths_total[15m])) > 3",
        hold="1m",
        severity="warning",
        summary="Workers of {{ $labels.node }} die again and again",
        description="{{ $value | humanize }} worker processes died in 15 minutes. A job that kills its worker is "
        "quarantined after a few deaths; a machine without memory kills anyone.",
    ),
    Alert(
        name="HegemonQueueWaitsLong",
        expr="max by (cluster, queue) (hegemon_queue_oldest_age_seconds) > 300",
        hold="5m",
        severity="warning",
        summary="Jobs in queue {{ $labels.queue }} wait for {{ $value | humanizeDuration }}",
        description="The oldest job that may run has been waiting for that long. More comes in than the workers "
        "finish, or nobody handles its type.",
    ),
    Alert(
        name="HegemonDeadLetters",
        expr="""\
sum by (cluster, queue) (rate(hegemon_jobs_total{outcome="failed"}[10m]))
  / sum by (cluster, queue) (rate(hegemon_jobs_total{outcome=~"completed|failed"}[10m])) > 0.05
and
sum by (cluster, queue) (increase(hegemon_jobs_total{outcome="failed"}[10m])) > 5""",
        hold="5m",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the jobs in queue {{ $labels.queue }} fail for good",
        description="More than one in twenty of the jobs that ended in 10 minutes became dead letters.",
    ),
    Alert(
        name="HegemonSchedulesLate",
        expr="""\
histogram_quantile(
  0.95, sum by (cluster, queue, le) (rate(hegemon_job_lateness_seconds_bucket[10m]))
) > 10""",
        hold="5m",
        severity="warning",
        summary="Scheduled jobs of queue {{ $labels.queue }} start {{ $value | humanizeDuration }} late",
        description="One in twenty of the jobs with a due time starts that long after it, or longer.",
    ),
)

_NODES: Final = (
    Alert(
        name="HegemonLoopLag",
        expr="""\
histogram_quantile(
  0.99, sum by (cluster, node, le) (rate(hegemon_event_loop_lag_seconds_bucket[5m]))
) > 0.25""",
        hold="5m",
        severity="warning",
        summary="The control process of {{ $labels.node }} turns {{ $value | humanizeDuration }} late",
        description="It has no processor when it needs one. Beyond the election's timeouts, others take it for dead.",
    ),
    *(
        Alert(
            name="HegemonDiskFillsUp",
            expr=f"hegemon_disk_free_bytes / hegemon_disk_size_bytes < {share:g}",
            hold="5m",
            severity=severity,
            summary="{{ $value | humanizePercentage }} of the stores' disk at {{ $labels.node }} is free",
            description="The disk of STORE_DATA_DIR. When it is full, the stores refuse writes: no job is accepted.",
        )
        for share, severity in ((0.15, "warning"), (0.05, "critical"))
    ),
    *(
        Alert(
            name="HegemonCertificateEnds",
            expr=f"hegemon_tls_certificate_expiry_timestamp_seconds - time() < {days * 86_400}",
            hold="5m",
            severity=severity,
            summary="The certificate of {{ $labels.node }} ends in {{ $value | humanizeDuration }}",
            description="After that, clients refuse to talk to the node. It takes a new one without a restart.",
        )
        for days, severity in ((14, "warning"), (2, "critical"))
    ),
)


def groups() -> tuple[Group, ...]:
    """All alerts."""
    return (
        Group("hegemon-cluster", _CLUSTER),
        Group("hegemon-work", _WORK),
        Group("hegemon-nodes", _NODES),
        Group("hegemon-budgets", tuple(burns())),
    )


def all_alerts() -> list[Alert]:
    """In the order of the file."""
    return [rule for group in groups() for rule in group.rules if isinstance(rule, Alert)]
