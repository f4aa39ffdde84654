"""The table of metrics: every family that a node serves. The collector, docs/metrics.md and Grafana's files come from
it; whoever adds a family adds it here.

Every series also carries `cluster` and `node`. No label ever holds a job's id, and the values of each are bounded.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from hegemon import measures
from hegemon.measures import SERIES_MAX, Measure

COMMON: Final = ("cluster", "node")


class Kind(StrEnum):
    """Prometheus' types, as far as they are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One family. `name` is whole, `_total` included; `labels` are those beside COMMON. `source` says where its values
    come from, and how old they may be. `measure`: what is counted for it in the processes of the node. `leader`: only
    the active leader has series of it."""

    name: str
    kind: Kind
    help: str
    source: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    measure: Measure | None = None
    leader: bool = False

    @property
    def bounds(self) -> tuple[float, ...]:
        """Of its buckets; the last one has none."""
        return self.measure.bounds if self.measure else ()


# What a label may say, in words.
LABELS: Final = MappingProxyType(
    {
        "cluster": "CLUSTER_ID",
        "node": "NODE_ID",
        "version": "of Hegemon",
        "algorithm": "bully, raft, gossip or solo",
        "queue": f"a queue; the first {SERIES_MAX} that a node meets, all others are `other`",
        "outcome": "completed, failed (a dead letter), retried, cancelled",
        "operation": "see the family",
        "store": "mongodb or redis",
        "reason": "see the family",
        "state": "see the family",
        "direction": "in or out",
        "kind": "a kind of event ([events.md](events.md))",
        "status": "2xx, 3xx, 4xx or 5xx",
        "place": "`stores`: STORE_DATA_DIR",
    }
)

_WORKERS = "the node's worker processes, by memory that they share with it"
_SCRAPE = "asked when it is scraped"
_BEAT = "the node's last beat (WORKER_BEAT)"
_ELECTION = "the node's election, when it is scraped"
_SURVEY = "Redis, asked every 5 s by the leader; an age and a depth are that old at most"


def _counter(name: str, help_: str, source: str, *labels: str, measure: Measure | None = None) -> Family:
    return Family(name=name, kind=Kind.COUNTER, help=help_, source=source, labels=labels, measure=measure)


def _gauge(name: str, help_: str, source: str, *labels: str, unit: str = "", leader: bool = False) -> Family:
    return Family(name=name, kind=Kind.GAUGE, help=help_, source=source, labels=labels, unit=unit, leader=leader)


def _seconds(name: str, help_: str, source: str, measure: Measure) -> Family:
    kind = Kind.HISTOGRAM
    return Family(
        name=name, kind=kind, help=help_, source=source, labels=measure.labels, unit="seconds", measure=measure
    )


_ALL: Final = (
    # The node.
    _gauge("hegemon_build_info", "Always 1; the labels say what runs.", _SCRAPE, "version", "algorithm"),
    _gauge("hegemon_node_uptime_seconds", "Since this node started.", _SCRAPE, unit="seconds"),
    _gauge("hegemon_cluster_members", "Members as this node sees them: alive, suspect, dead.", _ELECTION, "state"),
    _seconds("hegemon_event_loop_lag_seconds", "How late the control loop turned.", "20 looks a second", measures.LAG),
    # Jobs.
    _counter(
        "hegemon_jobs_submitted_total",
        "Jobs accepted by this node.",
        "what it wrote to MongoDB",
        "queue",
        measure=measures.SUBMITTED,
    ),
    _counter(
        "hegemon_jobs_total",
        "Tries that ended here, by how.",
        f"{_WORKERS}; cancelled: by the node that was asked; what the leader gives up (quarantined, say) by the leader",
        "queue",
        "outcome",
        measure=measures.ENDED,
    ),
    _counter("hegemon_jobs_taken_total", "Jobs that workers took from their inboxes.", _WORKERS),
    _counter(
        "hegemon_stale_completions_total",
        "Ends that were refused: the claim was not the worker's any more, or the job had ended.",
        _WORKERS,
    ),
    _seconds(
        "hegemon_job_processing_duration_seconds",
        "How long handlers ran: each try that was started and ended here.",
        _WORKERS,
        measures.PROCESSING,
    ),
    _seconds(
        "hegemon_job_wait_duration_seconds",
        "From when a job could run (accepted, due, or due again) to its start, to the millisecond.",
        _WORKERS,
        measures.WAIT,
    ),
    _seconds(
        "hegemon_job_lateness_seconds",
        "From when a scheduled job was due to its first start, to the millisecond.",
        _WORKERS,
        measures.LATENESS,
    ),
    # Queues and the index.
    _gauge(
        "hegemon_queue_depth",
        "Jobs in the index: ready, delayed (not due yet), held (by workers), parked (no worker has their type). "
        "Beyond 2,000 delayed or parked ones, a queue's share of them is estimated from the first 2,000.",
        _SURVEY,
        "queue",
        "state",
        leader=True,
    ),
    _gauge(
        "hegemon_queue_oldest_age_seconds",
        "For how long the oldest job that could run has waited; 0 for none.",
        _SURVEY,
        "queue",
        unit="seconds",
        leader=True,
    ),
    _gauge("hegemon_index_jobs", "Jobs in the index.", _BEAT),
    _gauge("hegemon_index_generation", "Generation of the index; it grows with each rebuild.", _BEAT),
    # Dispatch.
    _seconds(
        "hegemon_dispatch_duration_seconds",
        "A round of the leader in which jobs moved: survey, decision, scripts.",
        "the node's scheduler; only a leader's grows",
        measures.ROUND,
    ),
    _counter(
        "hegemon_dispatched_jobs_total",
        "Jobs moved into workers' inboxes.",
        "the node's scheduler; only a leader's grows",
        measure=measures.DISPATCHED,
    ),
    # Stores.
    Family(
        name="hegemon_group_commit_size",
        kind=Kind.HISTOGRAM,
        help="Jobs that shared one call: insert, batch (MongoDB); index, take, dispatch (Redis); finish (MongoDB).",
        source="the node and its workers, each group",
        labels=measures.GROUP.labels,
        measure=measures.GROUP,
    ),
    _seconds(
        "hegemon_store_request_duration_seconds",
        "Round trips to the stores, failed ones too, by MongoDB command or Redis script; blocking waits left out.",
        "the node and its workers, each call",
        measures.STORE,
    ),
    _gauge(
        "hegemon_store_up",
        "1 while a store answers; 0 after a second without.",
        "events store.lost, store.back",
        "store",
    ),
    _counter(
        "hegemon_fence_refusals_total",
        "Scripts of a leader that the marker in Redis refused: absent (lost with Redis), older (to be rebuilt), "
        "newer (somebody else leads: a stale leader was kept from writing).",
        "each answer of Redis",
        "reason",
        measure=measures.REFUSED,
    ),
    _gauge(
        "hegemon_disk_free_bytes",
        "Free space where the stores of this machine keep their data.",
        _SCRAPE,
        "place",
        unit="bytes",
    ),
    _gauge("hegemon_disk_size_bytes", "Size of that file system.", _SCRAPE, "place", unit="bytes"),
    # Workers.
    _gauge("hegemon_workers_active", "Worker processes that are open for jobs, those for suspects left out.", _SCRAPE),
    _gauge("hegemon_worker_slots", "How many jobs they run at once.", _SCRAPE),
    _gauge("hegemon_worker_slots_busy", "How many they run now.", _SCRAPE),
    _counter("hegemon_worker_deaths_total", "Worker processes that died, or were killed as stuck.", _SCRAPE),
    # The election.
    _counter(
        "hegemon_election_leader_changes_total",
        "How often this node came to believe in another leader, or in a new term of the same one.",
        "events election.leader_changed that name a leader",
    ),
    _gauge("hegemon_election_term", "Term of the election as this node has it.", _ELECTION),
    _gauge("hegemon_election_believes", "1 while this node believes that it was elected.", _ELECTION),
    _gauge("hegemon_leader_active", "1 while this node holds the office and reaches both stores.", _ELECTION),
    _gauge("hegemon_office_epoch", "Epoch of the office, the highest seen; it only grows.", _BEAT),
    _gauge(
        "hegemon_swim_health_score",
        "Gossip: this node's doubt in itself, 0 is healthy (Lifeguard's local health multiplier); absent otherwise.",
        _ELECTION,
    ),
    _counter(
        "hegemon_transport_frames_total",
        "Frames between nodes: datagrams and messages of streams.",
        _ELECTION,
        "direction",
    ),
    _counter(
        "hegemon_transport_frames_dropped_total",
        "Frames that were dropped, by why: foreign_cluster, forged, replayed, oversize, queue_full and others.",
        _ELECTION,
        "reason",
    ),
    # The API, events, credentials.
    _counter(
        "hegemon_http_requests_total",
        "Requests answered, by operation of the API's description; `unknown` if none.",
        "each answer of the API",
        "operation",
        "status",
        measure=measures.HTTP,
    ),
    _seconds(
        "hegemon_http_request_duration_seconds",
        "From the head of a request to its answer, waiting operations too.",
        "each answer of the API",
        measures.HTTP_TIME,
    ),
    _counter("hegemon_events_total", "Events that this node told.", "the bus of events", "kind"),
    _gauge("hegemon_activity_streams", "Clients that follow the activity live, by this node.", _SCRAPE),
    _counter("hegemon_activity_streams_dropped_total", "Such clients that were dropped, too slow to follow.", _SCRAPE),
    _gauge(
        "hegemon_tls_certificate_expiry_timestamp_seconds",
        "When the API's certificate ends, in seconds since 1970; absent without TLS.",
        _SCRAPE,
        unit="seconds",
    ),
)
FAMILIES: Final = MappingProxyType({family.name: family for family in _ALL})
