"""Cluster: is it well? The first row answers; the rest says since when, and where to look on."""

from __future__ import annotations

from typing import Final

from hegemon.monitoring.grafana.dashboard import CLUSTER, RATE, Dashboard, Row
from hegemon.monitoring.grafana.pages.queries import QUANTILE_COLOURS, nothing, quantiles, rate
from hegemon.monitoring.grafana.panel import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, Panel, Query

OUTCOME_COLOURS: Final = (("completed", GREEN), ("failed", RED), ("retried", ORANGE), ("cancelled", GREY))
STATE_COLOURS: Final = (("ready", BLUE), ("held", GREEN), ("delayed", PURPLE), ("parked", ORANGE))

# Of this cluster, or of no cluster in particular.
_FIRING: Final = 'alertname=~"Hegemon.*",alertstate="firing",cluster=~"$cluster|"'
# Jobs and credentials have figures of their own.
_TOLD: Final = "(node|election|office|worker|scheduler|store)[.].*"

_NOW: Final = (
    Panel(
        title="Leader",
        description="The node that holds the office and reaches both stores. Red: nobody dispatches jobs.",
        queries=(
            Query(f"hegemon_leader_active{{{CLUSTER}}} == 1", "{{node}}"),
            Query(f"sum(hegemon_leader_active{{{CLUSTER}}}) == 0", "NOBODY"),
        ),
        kind="stat",
        steps=((None, RED), (1, GREEN)),
        of_names=True,
        empty="NO DATA",
        width=5,
        height=4,
        link="/d/hegemon-election",
    ),
    Panel(
        title="Nodes alive",
        description="Members that the nodes call alive: the smallest number that any of them sees.",
        queries=(Query(f'min(hegemon_cluster_members{{{CLUSTER},state="alive"}})'),),
        kind="stat",
        steps=((None, RED), (1, GREEN)),
        width=3,
        height=4,
        link="/d/hegemon-node",
    ),
    Panel(
        title="Stores",
        description="Whether MongoDB and Redis answer every node.",
        queries=(Query(f"min by (store) (hegemon_store_up{{{CLUSTER}}})", "{{store}}"),),
        kind="stat",
        steps=((None, RED), (1, GREEN)),
        texts=((0, "DOWN", RED), (1, "up", GREEN)),
        width=5,
        height=4,
    ),
    Panel(
        title="Completed",
        description="Jobs that ended well, a second.",
        queries=(Query(rate("hegemon_jobs_total", f'{CLUSTER},outcome="completed"')),),
        kind="stat",
        unit="ops",
        steps=((None, BLUE),),
        width=4,
        height=4,
        link="/d/hegemon-jobs",
    ),
    Panel(
        title="Failed for good",
        description="Of the jobs that ended in the last ten minutes, the share that became dead letters.",
        queries=(
            Query(
                f'sum(rate(hegemon_jobs_total{{{CLUSTER},outcome="failed"}}[10m]))'
                f' / (sum(rate(hegemon_jobs_total{{{CLUSTER},outcome=~"completed|failed"}}[10m])) > 0)'
                f" or 0 * sum(hegemon_leader_active{{{CLUSTER}}})"
            ),
        ),
        kind="stat",
        unit="percentunit",
        decimals=1,
        steps=((None, GREEN), (0.01, YELLOW), (0.05, RED)),
        width=3,
        height=4,
        link="/d/hegemon-jobs",
    ),
    Panel(
        title="Oldest waiting",
        description="For how long the oldest job that could run has waited.",
        queries=(
            Query(f"max(hegemon_queue_oldest_age_seconds{{{CLUSTER}}}) or 0 * sum(hegemon_leader_active{{{CLUSTER}}})"),
        ),
        kind="stat",
        unit="s",
        decimals=1,
        steps=((None, GREEN), (60, YELLOW), (300, RED)),
        width=4,
        height=4,
        link="/d/hegemon-jobs",
    ),
    Panel(
        title="Alerts that fire",
        description="By name, red if critical. Each has a runbook, docs/runbooks/NAME.md; Prometheus lists them "
        "under /alerts.",
        queries=(
            # The value is for the colour alone.
            Query(f'2 * count by (alertname) (ALERTS{{{_FIRING},severity="critical"}}) ^ 0', "{{alertname}}"),
            Query(f'count by (alertname) (ALERTS{{{_FIRING},severity="warning"}}) ^ 0', "{{alertname}}"),
            Query(f"(count(ALERTS{{{_FIRING}}}) or vector(0)) == 0", "none"),
        ),
        kind="stat",
        steps=((None, GREEN), (1, ORANGE), (2, RED)),
        of_names=True,
        width=24,
        height=3,
    ),
)

_WORK: Final = (
    Panel(
        title="Jobs in and out",
        description="Accepted and ended, a second. What is accepted for long above what is completed piles up.",
        queries=(
            Query(rate("hegemon_jobs_submitted_total", CLUSTER), "submitted"),
            Query(rate("hegemon_jobs_total", CLUSTER, "outcome"), "{{outcome}}"),
        ),
        unit="ops",
        colours=(("submitted", BLUE), *OUTCOME_COLOURS),
        width=12,
    ),
    Panel(
        title="Jobs in the index",
        description="Ready to be dispatched, held by workers, delayed until they are due, and parked, since no worker "
        "has a handler for their type. As the active leader counts them.",
        queries=(Query(f"sum by (state) (hegemon_queue_depth{{{CLUSTER}}})", "{{state}}"),),
        stacked=True,
        colours=STATE_COLOURS,
        width=12,
    ),
    Panel(
        title="Waiting for a start",
        description="From the moment from which a job could run to its start.",
        queries=quantiles("hegemon_job_wait_duration_seconds", CLUSTER),
        unit="s",
        colours=QUANTILE_COLOURS,
        width=12,
    ),
    Panel(
        title="Running",
        description="How long handlers ran.",
        queries=quantiles("hegemon_job_processing_duration_seconds", CLUSTER),
        unit="s",
        colours=QUANTILE_COLOURS,
        width=12,
    ),
)

_NODES: Final = (
    Panel(
        title="Nodes",
        description="What each node says of itself.",
        queries=(
            Query(f"max by (node) (hegemon_leader_active{{{CLUSTER}}})", "Office"),
            Query(f"max by (node) (hegemon_node_uptime_seconds{{{CLUSTER}}})", "Up for"),
            Query(f"sum by (node) (hegemon_workers_active{{{CLUSTER}}})", "Workers"),
            Query(
                f"sum by (node) (hegemon_worker_slots_busy{{{CLUSTER}}})"
                f" / sum by (node) (hegemon_worker_slots{{{CLUSTER}}})",
                "Slots busy",
            ),
            Query(rate("hegemon_jobs_total", f'{CLUSTER},outcome="completed"', "node"), "Completed"),
            Query(f"min by (node) (hegemon_store_up{{{CLUSTER}}})", "Stores"),
        ),
        kind="table",
        units=(("Up for", "dtdurations"), ("Slots busy", "percentunit"), ("Completed", "ops")),
        words=(
            ("Office", ((0, "follows", GREY), (1, "leads", GREEN))),
            ("Stores", ((0, "DOWN", RED), (1, "up", GREEN))),
        ),
        width=14,
        height=7,
        link="/d/hegemon-node",
    ),
    Panel(
        title="Who leads",
        description="Green while a node is the active leader. A gap in all of them is a time without one.",
        queries=(Query(f"max by (node) (hegemon_leader_active{{{CLUSTER}}})", "{{node}}"),),
        kind="state-timeline",
        steps=((None, GREY), (1, GREEN)),
        texts=((0, "follows", "transparent"), (1, "leads", GREEN)),
        width=10,
        height=7,
        link="/d/hegemon-election",
    ),
    Panel(
        title="What happened",
        description="What an operator looks for. The dashboard of a node has it in words.",
        queries=(
            Query(
                f'sum by (kind) (increase(hegemon_events_total{{{CLUSTER},kind=~"{_TOLD}"}}[{RATE}])) > 0'
                f" or {nothing('kind')}",
                "{{kind}}",
            ),
        ),
        bars=True,
        stacked=True,
        decimals=0,
        width=24,
    ),
)

CLUSTER_PAGE: Final = Dashboard(
    name="cluster",
    title="Cluster",
    description="Is the cluster well, and if not, since when and where?",
    rows=(Row("", _NOW), Row("Work", _WORK), Row("Nodes", _NODES)),
)
