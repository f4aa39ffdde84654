"""How much a node accepts at a time."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of acceptance: jobs in the index, submissions on their way to it, jobs in a batch, bytes in a payload."""

    depth_max: int = 2_000_000
    buffer_max: int = 10_000
    batch_max: int = 1000
    payload_bytes_max: int = 1 << 20
