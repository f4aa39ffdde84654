"""Node: what one node, or all beside each other, have to do and how they feel about it."""

from __future__ import annotations

from typing import Final

from hegemon.monitoring.grafana.dashboard import NODE, RATE, Dashboard, Row
from hegemon.monitoring.grafana.pages.queries import nothing, quantile, rate
from hegemon.monitoring.grafana.panel import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, Panel, Query

_ANSWER_TIME: Final = "hegemon_http_request_duration_seconds"
_BUSY: Final = f"sum by (node) (hegemon_worker_slots_busy{{{NODE}}}) / sum by (node) (hegemon_worker_slots{{{NODE}}})"

_NOW: Final = (
    Panel(
        title="Up for",
        description="Since the node started.",
        queries=(Query(f"max by (node) (hegemon_node_uptime_seconds{{{NODE}}})", "{{node}}"),),
        kind="stat",
        unit="dtdurations",
        steps=((None, ORANGE), (300, GREEN)),
        width=6,
        height=4,
    ),
    Panel(
        title="Version",
        description="Of Hegemon. Two at once belong to an upgrade.",
        queries=(Query(f"count by (version) (hegemon_build_info{{{NODE}}})", "{{version}}"),),
        kind="stat",
        steps=((None, BLUE),),
        of_names=True,
        width=4,
        height=4,
    ),
    Panel(
        title="Workers",
        description="Worker processes that are open for jobs.",
        queries=(Query(f"sum by (node) (hegemon_workers_active{{{NODE}}})", "{{node}}"),),
        kind="stat",
        steps=((None, RED), (1, GREEN)),
        width=4,
        height=4,
    ),
    Panel(
        title="Slots busy",
        description="How much of what its workers can run at once they run now.",
        queries=(Query(_BUSY, "{{node}}"),),
        kind="bargauge",
        unit="percentunit",
        most=1,
        steps=((None, GREEN), (0.9, YELLOW)),
        width=5,
        height=4,
    ),
    Panel(
        title="Certificate ends in",
        description="The certificate of the API. Grey: the node has none.",
        queries=(
            Query(
                f"hegemon_tls_certificate_expiry_timestamp_seconds{{{NODE}}} - time()"
                f" or -1 * max by (cluster, node) (hegemon_build_info{{{NODE}}})",
                "{{node}}",
            ),
        ),
        kind="stat",
        unit="dtdurations",
        steps=((None, RED), (172_800, ORANGE), (1_209_600, GREEN)),
        texts=((-1, "none", GREY),),
        width=5,
        height=4,
    ),
)

_WORKERS: Final = (
    Panel(
        title="Jobs completed",
        description="A second, by node.",
        queries=(Query(rate("hegemon_jobs_total", f'{NODE},outcome="completed"', "node"), "{{node}}"),),
        unit="ops",
    ),
    Panel(
        title="Slots busy",
        description="How much of what its workers can run at once they run.",
        queries=(Query(_BUSY, "{{node}}"),),
        unit="percentunit",
        most=1,
    ),
    Panel(
        title="Worker deaths",
        description="Worker processes that died or were killed as stuck.",
        queries=(Query(f"sum by (node) (increase(hegemon_worker_deaths_total{{{NODE}}}[{RATE}]))", "{{node}}"),),
        bars=True,
        stacked=True,
    ),
)

_PROCESS: Final = (
    Panel(
        title="Loop lag, 99%",
        description="How late the control process turns. The line: an alert. Beyond the election's timeouts, "
        "others take the node for dead.",
        queries=(Query(quantile(0.99, "hegemon_event_loop_lag_seconds", NODE, "node"), "{{node}}"),),
        unit="s",
        steps=((None, GREEN), (0.25, RED)),
        limits=True,
    ),
    Panel(
        title="Stores",
        description="Red while the node got no answer from a store.",
        queries=(Query(f"min by (node, store) (hegemon_store_up{{{NODE}}})", "{{node}} {{store}}"),),
        kind="state-timeline",
        steps=((None, RED), (1, GREEN)),
        texts=((0, "down", RED), (1, "up", GREEN)),
    ),
    Panel(
        title="Store round trips, 95%",
        description="How long MongoDB and Redis take to answer.",
        queries=(
            Query(
                quantile(0.95, "hegemon_store_request_duration_seconds", NODE, "node", "store"), "{{node}} {{store}}"
            ),
        ),
        unit="s",
    ),
)

_API: Final = (
    Panel(
        title="Requests, by status",
        description="Answers a second, probes and scrapes too: a node that is not ready yet says 503.",
        queries=(Query(rate("hegemon_http_requests_total", NODE, "status"), "{{status}}"),),
        unit="reqps",
        stacked=True,
        colours=(("2xx", GREEN), ("3xx", BLUE), ("4xx", YELLOW), ("5xx", RED)),
    ),
    Panel(
        title="Requests, by operation",
        description="The operations that are asked for most, a second.",
        queries=(Query(f"topk(8, {rate('hegemon_http_requests_total', NODE, 'operation')})", "{{operation}}"),),
        unit="reqps",
    ),
    Panel(
        title="Slowest operations, 95%",
        description="Of the API, now: nineteen in twenty take no longer than this. Some wait on purpose, for a "
        "job's end or for what comes next.",
        queries=(
            Query(
                f"sort_desc(topk(8, {quantile(0.95, _ANSWER_TIME, NODE, 'operation')} > 0))",
                "{{operation}}",
            ),
        ),
        kind="bargauge",
        unit="s",
        steps=((None, GREEN), (0.25, YELLOW), (1, RED)),
    ),
    Panel(
        title="Live streams",
        description="Clients that follow the activity, the dashboard's pages among them.",
        queries=(Query(f"sum by (node) (hegemon_activity_streams{{{NODE}}})", "{{node}}"),),
    ),
    Panel(
        title="Streams dropped",
        description="Followers that were too slow.",
        queries=(
            Query(f"sum by (node) (increase(hegemon_activity_streams_dropped_total{{{NODE}}}[{RATE}]))", "{{node}}"),
        ),
        bars=True,
        stacked=True,
    ),
    Panel(
        title="Disk of the stores that is free",
        description="Where the stores of this machine keep their data, if Hegemon knows (STORE_DATA_DIR). The line: an "
        "alert. Without it, a full disk is the stores' own to tell.",
        queries=(
            Query(
                f"hegemon_disk_free_bytes{{{NODE}}} / hegemon_disk_size_bytes{{{NODE}}}",
                "{{node}}",
            ),
        ),
        unit="percentunit",
        most=1,
        steps=((None, RED), (0.15, GREEN)),
        limits=True,
    ),
)

_EVENTS: Final = (
    Panel(
        title="Events",
        description="What the nodes told, by kind. docs/events.md says what each means.",
        queries=(
            Query(
                f"sum by (kind) (increase(hegemon_events_total{{{NODE}}}[{RATE}])) > 0 or {nothing('kind')}", "{{kind}}"
            ),
        ),
        bars=True,
        stacked=True,
        width=24,
    ),
)

NODE_PAGE: Final = Dashboard(
    name="node",
    title="Node",
    description="What one node, or all beside each other, have to do, and how they feel about it.",
    rows=(
        Row("", _NOW),
        Row("Workers", _WORKERS),
        Row("Control process and stores", _PROCESS),
        Row("API and disk", _API),
        Row("Events", _EVENTS),
    ),
    variables=("node",),
)
