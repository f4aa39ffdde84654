"""The cluster's one clock: Redis TIME, never falling, carried by a monotonic offset while Redis is away.

No stored time comes from a node's own wall clock, except before the first contact with Redis. A reading that lies
behind what was already handed out holds the clock still until Redis has caught up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hegemon.queue.redis import Redis


class ClusterClock:
    """`now_ms()` for everything that is stored or due. One per process; `observe` is fed by the scripts that return
    TIME.
    """

    __slots__ = ("_base_ms", "_base_s", "_last_ms", "_observed")

    def __init__(self) -> None:
        self._base_ms = time.time() * 1000.0
        self._base_s = time.monotonic()
        self._last_ms = 0
        self._observed = False

    def observe(self, redis_ms: float, asked_at_s: float, answered_at_s: float) -> None:
        """Take a reading of Redis TIME (ms) that was made between two monotonic moments: the middle is the best
        guess.
        """
        if not self._observed:
            # What was handed out before came from the node's own clock, which may be an hour ahead: it holds nobody up.
            self._observed, self._last_ms = True, 0
        self._base_ms = redis_ms
        self._base_s = (asked_at_s + answered_at_s) / 2

    async def ask(self, redis: Redis) -> None:
        """Read Redis TIME. Raises what `Redis.command` raises."""
        asked = time.monotonic()
        seconds, micros = await redis.command("TIME")
        self.observe(int(seconds) * 1000 + int(micros) / 1000, asked, time.monotonic())

    def now_ms(self) -> int:
        """UTC milliseconds, never less than before."""
        now = int(self._base_ms + (time.monotonic() - self._base_s) * 1000.0)
        self._last_ms = max(self._last_ms, now)
        return self._last_ms
