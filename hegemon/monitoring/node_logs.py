"""A node's log as its settings want it, and the memory that it keeps of it."""

from __future__ import annotations

from hegemon.cluster.secret_texts import otel_secrets, secret_texts
from hegemon.cluster.settings import Settings
from hegemon.monitoring.log_ring import LogRing
from hegemon.monitoring.logs import Shape, configure


def node_logs(settings: Settings) -> LogRing:
    """Set up this process's logging; where its lines are kept, and its workers' may be."""
    ring = LogRing(settings.log.log_kept)
    configure(
        Shape(
            level=settings.log.log_level,
            form=settings.log.log_format,
            secrets=secret_texts(settings) | otel_secrets(settings.otel),
            fields={"node": settings.cluster.node_id},
            keep=ring.keep,
            per_second=settings.log.log_sampling,
        )
    )
    return ring
