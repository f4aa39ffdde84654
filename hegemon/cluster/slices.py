"""Settings as the lower layers take them: plain numbers and their own frozen values, no settings object."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from hegemon.cluster.secret_texts import otel_secrets, secret_texts
from hegemon.cluster.settings import QueueSettings, Settings
from hegemon.cluster.witness import REACH_S, TRUTH_HOLDING_S
from hegemon.election.contract import Timing
from hegemon.queue.retry import RetryPolicy

# A beat may be lost, and the next one late: after this many a silence means something.
_HEARTBEATS_MISSED: Final = 3.5
# A leader gives up so long after it was cut off from a store, a tenth of a second or two later at most.
_GIVE_UP_S: Final = 3.0


def milliseconds(value: timedelta) -> int:
    """Whole milliseconds."""
    return round(value.total_seconds() * 1000)


def retry_policy(queue: QueueSettings) -> RetryPolicy:
    """The cluster's policy; types and jobs may bring their own."""
    return RetryPolicy(
        kind=queue.retry_policy,
        base_ms=milliseconds(queue.retry_base_delay),
        max_ms=milliseconds(queue.retry_max_delay),
        multiplier=queue.retry_multiplier,
        jitter=queue.retry_jitter_factor,
    )


def election_timing(settings: Settings) -> Timing:
    """The periods of an election as the electors know them."""
    election = settings.election
    heartbeat_s = election.election_heartbeat.total_seconds()
    takeover_s = election.office_takeover.total_seconds()
    silence_s = _HEARTBEATS_MISSED * heartbeat_s
    if election.election_algorithm == "raft":
        # No store vouches for a Raft leader. Where a fifth of all datagrams is lost, three answers in a row are missing
        # once in ten minutes; so it has its followers' patience for as long as the office has ours.
        silence_s = max(silence_s, takeover_s)
    beat_s = settings.worker.worker_beat.total_seconds()
    return Timing(
        heartbeat_s=heartbeat_s,
        silence_s=silence_s,
        timeout_s=election.election_timeout.total_seconds(),
        interval_s=election.election_interval.total_seconds(),
        witness_s=takeover_s,
        member_witness_s=_HEARTBEATS_MISSED * beat_s,
        # From when the witness says so: REACH_S after the last answer, which is as old as a look's pause at the cut.
        unfit_s=_GIVE_UP_S + TRUTH_HOLDING_S - REACH_S,
    )


def payload_keys(settings: Settings) -> str:
    """PAYLOAD_ENCRYPTION_KEYS as text, empty where there are none."""
    keys = settings.store.payload_encryption_keys
    return "" if keys is None else keys.get_secret_value()


def worker_options(settings: Settings, incarnation: str, policy: RetryPolicy) -> dict[str, Any]:
    """What every worker process of a node is told (`worker.options.WorkerOptions`, but for what is each one's own)."""
    return {
        "node": settings.cluster.node_id,
        "node_incarnation": incarnation,
        "cluster_id": settings.cluster.cluster_id,
        "mongodb_uri": settings.store.mongodb_uri_with_tls,
        "mongodb_database": settings.store.mongodb_database,
        "mongodb_timeout_s": settings.store.mongodb_timeout.total_seconds(),
        "redis_url": settings.store.redis_url,
        "payload_encryption_keys": payload_keys(settings),
        "secrets": sorted(secret_texts(settings, [settings.store]) | otel_secrets(settings.otel)),
        "redis_timeout_s": settings.store.redis_timeout.total_seconds(),
        "handlers": list(settings.worker.handlers),
        "retry": policy.to_dict(),
        "grace_ms": milliseconds(settings.queue.job_timeout_grace),
        "result_bytes_max": settings.queue.max_result_size,
        "max_retries": settings.queue.max_retries,
        "timeout_ms": milliseconds(settings.queue.job_timeout),
        "log_level": settings.log.log_level,
        "log_format": settings.log.log_format,
        "log_sampling": settings.log.log_sampling,
        "log_kept": settings.log.log_kept > 0,
        "tracing": settings.tracing.tracing_enabled,
        "priority": settings.cluster.node_priority,
    }
