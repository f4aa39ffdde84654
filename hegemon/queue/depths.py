"""How much waits in each queue, and for how long: what `depths.lua` finds, as figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

# Of the delayed and of the parked entries so many are looked at; beyond them a queue's share is estimated.
LOOKED_AT: Final = 2000


class QueueDepth(msgspec.Struct, frozen=True):
    """One queue. `oldest_age_s`: for how long its oldest job that could run, ready or parked, has waited; None if there
    is none. `delayed` and `parked` are estimates where there are more than LOOKED_AT in all queues."""

    queue: str
    ready: int
    delayed: int
    held: int
    parked: int
    oldest_age_s: float | None


def queue_depths(answer: Sequence[Any]) -> Iterator[QueueDepth]:
    """Of the script's answer, in no order."""
    now_ms, delayed, delayed_seen, parked, parked_seen, flat = answer
    for i in range(0, len(flat), 6):
        queue, ready, of_delayed, held, of_parked, seq = flat[i : i + 6]
        yield QueueDepth(
            queue.decode(),
            ready,
            _share(of_delayed, delayed, delayed_seen),
            held,
            _share(of_parked, parked, parked_seen),
            max(now_ms - int(seq) // 1000, 0) / 1000 if seq else None,
        )


def _share(found: int, total: int, looked_at: int) -> int:
    return found if looked_at >= total else round(found * total / looked_at)
