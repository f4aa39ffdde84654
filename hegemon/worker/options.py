"""What a worker process is told at its start, over the control socket: its slice of the settings, and nothing secret on
a command line."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`worker` is the incarnation that this process is. Durations in seconds unless the name says ms. `slots` jobs
    run at once; a `solo` process runs suspects, alone.
    """

    worker: str
    node: str
    node_incarnation: str
    cluster_id: str
    mongodb_uri: str
    mongodb_database: str
    mongodb_timeout_s: float
    redis_url: str
    redis_timeout_s: float
    slots: int
    solo: bool
    handlers: list[str]
    retry: dict[str, Any]
    grace_ms: int
    result_bytes_max: int
    max_retries: int
    timeout_ms: int
    log_level: str = "info"
    log_format: str = "auto"
    log_sampling: int = 0
    log_kept: bool = False
    tracing: bool = False
    priority: int = 0
    payload_encryption_keys: str = ""
    # What of the above no log may show, each by itself.
    secrets: list[str] = []

    @property
    def mongodb_timeout(self) -> timedelta:
        """As the driver wants it."""
        return timedelta(seconds=self.mongodb_timeout_s)

    @property
    def redis_timeout(self) -> timedelta:
        """As the connection wants it."""
        return timedelta(seconds=self.redis_timeout_s)
