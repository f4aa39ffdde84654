"""Jobs and queues: what comes in, what waits, what ends how, and where the time goes."""

from __future__ import annotations

from typing import Final

from hegemon.monitoring.grafana.dashboard import CLUSTER, QUEUE, Dashboard, Row
from hegemon.monitoring.grafana.pages.cluster import OUTCOME_COLOURS, STATE_COLOURS
from hegemon.monitoring.grafana.pages.queries import QUANTILE_COLOURS, mean, quantile, quantiles, rate
from hegemon.monitoring.grafana.panel import BLUE, GREEN, ORANGE, RED, YELLOW, Panel, Query

_LEADS: Final = f"sum(hegemon_leader_active{{{CLUSTER}}})"

_STORE_TIME: Final = "hegemon_store_request_duration_seconds"

_NOW: Final = (
    Panel(
        title="Ready",
        description="Jobs that could run and wait for a slot.",
        queries=(Query(f'sum(hegemon_queue_depth{{{QUEUE},state="ready"}}) or 0 * {_LEADS}'),),
        kind="stat",
        steps=((None, BLUE),),
        width=4,
        height=4,
    ),
    Panel(
        title="Delayed",
        description="Jobs that are not due yet.",
        queries=(Query(f'sum(hegemon_queue_depth{{{QUEUE},state="delayed"}}) or 0 * {_LEADS}'),),
        kind="stat",
        steps=((None, BLUE),),
        width=4,
        height=4,
    ),
    Panel(
        title="Parked",
        description="Jobs whose type no worker has a handler for. They wait until one comes.",
        queries=(Query(f'sum(hegemon_queue_depth{{{QUEUE},state="parked"}}) or 0 * {_LEADS}'),),
        kind="stat",
        steps=((None, GREEN), (1, ORANGE)),
        width=4,
        height=4,
    ),
    Panel(
        title="Oldest waiting",
        description="For how long the oldest job that could run has waited.",
        queries=(Query(f"max(hegemon_queue_oldest_age_seconds{{{QUEUE}}}) or 0 * {_LEADS}"),),
        kind="stat",
        unit="s",
        decimals=1,
        steps=((None, GREEN), (60, YELLOW), (300, RED)),
        width=4,
        height=4,
    ),
    Panel(
        title="Dead letters",
        description="Jobs that failed for good in the time that is shown.",
        queries=(Query(f'sum(increase(hegemon_jobs_total{{{QUEUE},outcome="failed"}}[$__range])) or 0 * {_LEADS}'),),
        kind="stat",
        decimals=0,
        steps=((None, GREEN), (1, ORANGE)),
        width=4,
        height=4,
    ),
    Panel(
        title="Slots busy",
        description="How much of what the workers can run at once they run now. At 100% for long, add workers.",
        queries=(Query(f"sum(hegemon_worker_slots_busy{{{CLUSTER}}}) / sum(hegemon_worker_slots{{{CLUSTER}}})"),),
        kind="stat",
        unit="percentunit",
        decimals=0,
        steps=((None, GREEN), (0.9, YELLOW)),
        width=4,
        height=4,
    ),
)

_FLOW: Final = (
    Panel(
        title="Submitted, by queue",
        description="Jobs accepted, a second.",
        queries=(Query(rate("hegemon_jobs_submitted_total", QUEUE, "queue"), "{{queue}}"),),
        unit="ops",
    ),
    Panel(
        title="Ended, by outcome",
        description="Tries that ended, a second. failed: for good; retried: there will be another.",
        queries=(Query(rate("hegemon_jobs_total", QUEUE, "outcome"), "{{outcome}}"),),
        unit="ops",
        colours=OUTCOME_COLOURS,
    ),
    Panel(
        title="Failed for good, by queue",
        description="Dead letters, a second.",
        queries=(Query(rate("hegemon_jobs_total", f'{QUEUE},outcome="failed"', "queue"), "{{queue}}"),),
        unit="ops",
    ),
    Panel(
        title="In the index, by state",
        description="Ready, held by workers, delayed until due, parked for want of a handler.",
        queries=(Query(f"sum by (state) (hegemon_queue_depth{{{QUEUE}}})", "{{state}}"),),
        stacked=True,
        colours=STATE_COLOURS,
    ),
    Panel(
        title="Ready, by queue",
        description="Jobs that could run and wait for a slot.",
        queries=(Query(f'sum by (queue) (hegemon_queue_depth{{{QUEUE},state="ready"}})', "{{queue}}"),),
        stacked=True,
    ),
    Panel(
        title="Oldest waiting, by queue",
        description="For how long the oldest job that could run has waited. The line: an alert, after five minutes.",
        queries=(Query(f"max by (queue) (hegemon_queue_oldest_age_seconds{{{QUEUE}}})", "{{queue}}"),),
        unit="s",
        steps=((None, GREEN), (300, RED)),
        limits=True,
    ),
)

_TIME: Final = (
    Panel(
        title="Waiting for a start",
        description="From the moment from which a job could run to its start.",
        queries=quantiles("hegemon_job_wait_duration_seconds", QUEUE),
        unit="s",
        colours=QUANTILE_COLOURS,
    ),
    Panel(
        title="Lateness of scheduled jobs",
        description="From when a job with a delay or a due time was due to its first start.",
        queries=quantiles("hegemon_job_lateness_seconds", QUEUE),
        unit="s",
        colours=QUANTILE_COLOURS,
    ),
    Panel(
        title="Running, 95%, by queue",
        description="How long handlers ran: nineteen in twenty no longer than this.",
        queries=(Query(quantile(0.95, "hegemon_job_processing_duration_seconds", QUEUE, "queue"), "{{queue}}"),),
        unit="s",
    ),
)

_MACHINERY: Final = (
    Panel(
        title="Dispatched",
        description="Jobs that the leader moved into workers' inboxes, and that workers took, a second.",
        queries=(
            Query(rate("hegemon_dispatched_jobs_total", CLUSTER), "dispatched"),
            Query(rate("hegemon_jobs_taken_total", CLUSTER), "taken"),
        ),
        unit="ops",
    ),
    Panel(
        title="A round of the leader",
        description="How long it takes from looking to having moved jobs.",
        queries=quantiles("hegemon_dispatch_duration_seconds", CLUSTER),
        unit="s",
        colours=QUANTILE_COLOURS,
    ),
    Panel(
        title="Jobs a call",
        description="How many jobs share one call of a store, on average: the busier, the more.",
        queries=(Query(mean("hegemon_group_commit_size", CLUSTER, "operation"), "{{operation}}"),),
        decimals=1,
    ),
    Panel(
        title="Slowest store operations, 95%",
        description="Of MongoDB's commands and Redis' scripts, now: nineteen in twenty take no longer than this.",
        queries=(
            Query(
                f"sort_desc(topk(8, {quantile(0.95, _STORE_TIME, CLUSTER, 'store', 'operation')} > 0))",
                "{{store}} {{operation}}",
            ),
        ),
        kind="bargauge",
        unit="s",
        steps=((None, GREEN), (0.1, YELLOW), (0.5, RED)),
        width=12,
    ),
    Panel(
        title="Late completions refused",
        description="Ends that came from a worker whose claim was not its own any more. They changed nothing.",
        queries=(Query(rate("hegemon_stale_completions_total", CLUSTER, "node"), "{{node}}"),),
        unit="ops",
        width=12,
    ),
)

JOBS_PAGE: Final = Dashboard(
    name="jobs",
    title="Jobs and queues",
    description="What comes in, what waits, what ends how, and where the time goes.",
    rows=(Row("", _NOW), Row("Flow", _FLOW), Row("Time", _TIME), Row("Machinery (all queues)", _MACHINERY)),
    variables=("queue",),
)
