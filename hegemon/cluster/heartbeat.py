"""The node's beat: for itself and for its worker processes, whose leases run from its sending.

It also learns the index's generation and state, keeps the cluster clock, and feels how late the control loop turns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from hegemon.cluster.observer import Pulse
from hegemon.cluster.supervisor import Supervisor
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import QueueError, StoreUnavailable
from hegemon.queue.index import READY, Marker, MemberIndex
from hegemon.queue.submit import Submitter

log = structlog.get_logger(__name__)

# Until the index is ready and every worker is open, the node asks more often.
EAGER_S: Final = 0.05
STATE_TRUSTED_S: Final = 3.0


class Heartbeat:
    """One node's beat. `now` makes it beat at once."""

    def __init__(
        self,
        *,
        index: MemberIndex,
        supervisor: Supervisor,
        submitter: Submitter,
        clock: ClusterClock,
        pulse: Pulse,
        beat_s: float,
        incarnation: Callable[[], str],
        information: Callable[[], dict[str, Any]],
        now: asyncio.Event,
    ) -> None:
        self._index = index
        self._supervisor = supervisor
        self._submitter = submitter
        self._clock = clock
        self._pulse = pulse
        self._beat_s = beat_s
        self._incarnation = incarnation
        self._information = information
        self._now = now

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            workers = [worker.id for worker in self._supervisor.workers.values() if worker.open.is_set()]
            sent = time.monotonic()
            self._pulse.turned_s = sent
            self._now.clear()
            try:
                marker = await self._index.beat(self._incarnation(), self._information(), workers)
            except QueueError as error:
                log.debug("beat_failed", reason=str(error))
                self._pulse.refused = isinstance(error, StoreUnavailable) and error.refuses
                if time.monotonic() - self._pulse.acknowledged_s > STATE_TRUSTED_S:
                    self._pulse.state = ""
            except Exception:  # a node without a beat is dead to the others: never for a fault of ours
                log.exception("beat_failed")
            else:
                self._learn(marker, sent)
            await self._pause(workers)

    def _learn(self, marker: Marker, sent: float) -> None:
        now = time.monotonic()
        pulse = self._pulse
        pulse.acknowledged_s, pulse.refused = now, False
        pulse.generation, pulse.state = marker.generation, marker.state
        pulse.epoch, pulse.depth = marker.epoch, marker.depth
        self._clock.observe(marker.now_ms, sent, now)
        if marker.state == READY:
            self._index.generation = marker.generation
        self._submitter.depth = marker.depth
        self._supervisor.renew(marker.open, sent)
        self._supervisor.suspects_waiting(marker.suspects)

    async def _pause(self, beaten: list[str]) -> None:
        settled = self._pulse.state == READY and self._supervisor.workers.keys() <= set(beaten)
        pause = self._beat_s if settled else EAGER_S
        before = time.monotonic()
        try:
            async with asyncio.timeout(pause):
                await self._now.wait()
        except TimeoutError:
            self._pulse.lag_s = max(time.monotonic() - before - pause, 0.0)
