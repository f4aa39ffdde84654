"""Domain events in the log: one line for each, unless whoever tells it writes one, with more to say, by itself."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import msgspec
import structlog

from hegemon.events.bus import Recorded

log = structlog.get_logger(__name__)

# Kinds that have a line of their own, or none: that line's name.
OWN_LINES: Final = MappingProxyType(
    {
        "node.started": ("node_started",),
        "node.stopping": ("node_stopping",),
        "node.stopped": ("node_stopped",),
        "node.reincarnated": ("node_reincarnated",),
        "node.lost": ("node_swept",),
        "election.leader_changed": ("election",),
        "election.won": ("election",),
        "election.lost": ("election",),
        "office.taken": ("office_taken",),
        "office.active": ("leader_active",),
        "office.paused": ("leader_paused",),
        "office.vacated": ("office_vacated",),
        "office.lost": ("office_lost",),
        "worker.lost": ("worker_died",),
        "worker.stuck": ("handler_stuck", "worker_stuck"),
        "worker.unloadable": ("worker_cannot_start",),
        "worker.closed": ("worker_closed",),
        "job.dead": ("job_failed",),
        "job.retried": ("job_retried",),
        # A count of what went well, for those who draw it.
        "jobs.completed": (),
        "scheduler.rebuild_finished": ("index_rebuilt",),
        "scheduler.hoard_reclaimed": ("hoard_reclaimed",),
        "scheduler.unindexed_found": ("audit_found_unindexed",),
        "security.audit_cut_off": ("audit_log_cut_off",),
    }
)


def log_event(recorded: Recorded) -> None:
    """The subscriber: a line with the event's name and fields."""
    event = recorded.event
    if event.kind not in OWN_LINES:
        getattr(log, event.severity.value)(event.kind, **msgspec.to_builtins(event))
