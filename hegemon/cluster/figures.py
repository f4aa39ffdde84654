"""How the cluster is doing, as any node can tell: each samples itself and leaves its figures in Redis for the others.

    series (own, workers') ──every SAMPLE_S──> window ──growth──> Told ──HSET figures──> Redis
    leader: depths ──every DEPTH_S──────────────────────────────────┘                     │ HGETALL
    stats() <── merged, at most once in GATHER_S: own, and the others' not older than FRESH_MS <──┘

Nothing depends on it: while Redis is away a node tells of itself alone, and says who is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from hegemon.cluster.figure_merging import Told, folded, merged
from hegemon.cluster.figure_windows import Series, Window, highest
from hegemon.cluster.stat_shapes import LONG_S, SAMPLE_S, SHORT_S, ClusterFigures, Counters
from hegemon.cluster.supervisor import Supervisor
from hegemon.measures import ENDED, LAG, LATENESS, MEASURES, OUTCOMES, PROCESSING, SERIES_MAX, SUBMITTED, WAIT
from hegemon.queue.clock import ClusterClock
from hegemon.queue.depths import QueueDepth
from hegemon.queue.errors import QueueError
from hegemon.queue.index import MemberIndex

log = structlog.get_logger(__name__)

DEPTH_S: Final = 5.0
# Three samples: a node that is late is not gone.
FRESH_MS: Final = 3000 * SAMPLE_S
FORGOTTEN_MS: Final = 3_600_000
# However many people look, and each of them every second.
GATHER_S: Final = 1.0
_TOLD: Final = frozenset({SUBMITTED.name, ENDED.name, PROCESSING.name, WAIT.name, LATENESS.name, LAG.name})
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Told).decode


class Depths(msgspec.Struct, frozen=True):
    """What the leader found, and when, by the cluster clock; `told`: of it what the others are told, `folded`."""

    at_ms: int
    queues: list[QueueDepth]
    told: list[QueueDepth]


class FigureKeeper:
    """One node's. `run` must run; `leads` says whether this node is the active leader, `members` who lives."""

    def __init__(
        self,
        *,
        node: str,
        supervisor: Supervisor,
        index: MemberIndex,
        clock: ClusterClock,
        leads: Callable[[], bool],
        members: Callable[[], Iterable[str]],
    ) -> None:
        self._node = node
        self._supervisor = supervisor
        self._index = index
        self._clock = clock
        self._leads = leads
        self._members = members
        self._started_s = time.monotonic()
        self._window = Window(self._started_s)
        self._depths: Depths | None = None
        self._depths_s = 0.0
        self._others: dict[str, Told] = {}
        self._gathered_s = float("-inf")
        self._merged: ClusterFigures | None = None
        self._gathering = asyncio.Lock()

    async def run(self) -> None:
        """Sample, look and tell for as long as the node lives."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            try:
                self._window.add(time.monotonic(), self._series())
                await self._look()
                await self._index.tell_figures(self._node, _encode(self.told()))
            except QueueError:
                pass  # The others see how old our figures are.
            except Exception:  # what people look at must not end a node
                log.exception("figures_failed")

    @property
    def depths(self) -> Depths | None:
        """What this node found as the active leader; None if it is not, or has not looked yet."""
        return self._depths if self._leads() else None

    async def figures(self) -> ClusterFigures:
        """Of the whole cluster, at most GATHER_S old."""
        # Who comes while they are gathered waits for these: what was put together before may be an hour old.
        async with self._gathering:
            if self._merged is None or time.monotonic() - self._gathered_s > GATHER_S:
                try:
                    await self._gather()
                except QueueError:
                    pass  # They grow old, and then are missing.
                self._merged = self._put_together()
                self._gathered_s = time.monotonic()
            return self._merged

    def _put_together(self) -> ClusterFigures:
        now_ms = self._clock.now_ms()
        others = [told for told in self._others.values() if now_ms - told.at_ms <= FRESH_MS]
        found = [self.told(), *others]
        missing = sorted({*self._members()} - {told.node for told in found})
        return merged(found, now_ms, missing)

    def told(self) -> Told:
        """This node's own, as of now."""
        now_s, series = time.monotonic(), self._series()
        short_s, short = self._window.growth(now_s, series, SHORT_S)
        long_s, long = self._window.growth(now_s, series, LONG_S)
        supervisor, depths = self._supervisor, self.depths
        lag = long.pop((LAG.name,), None)
        open_workers = [worker for worker in supervisor.workers.values() if worker.open.is_set() and not worker.solo]
        return Told(
            node=self._node,
            at_ms=self._clock.now_ms(),
            active=self._leads(),
            workers=len(open_workers),
            slots=sum(worker.slots for worker in open_workers),
            busy=sum(len(worker.board.running()) for worker in supervisor.workers.values()),
            worker_deaths=supervisor.deaths,
            loop_lag_ms=1000 * highest(LAG.bounds, lag) if lag else 0.0,
            uptime_s=round(now_s - self._started_s, 1),
            counters=self._counters(series),
            short_s=short_s,
            short={"\n".join(key): row for key, row in short.items() if key[0] in (SUBMITTED.name, ENDED.name)},
            long_s=long_s,
            long={"\n".join(key): row for key, row in long.items()},
            depths_at_ms=None if depths is None else depths.at_ms,
            depths=[] if depths is None else depths.told,
        )

    def _series(self) -> Series:
        return {key: row for key, row in self._supervisor.series().items() if key[0] in _TOLD}

    def _counters(self, series: Series) -> Counters:
        totals = self._supervisor.counters()
        ended = dict.fromkeys(OUTCOMES, 0)
        for key, row in series.items():
            if key[0] == ENDED.name:
                ended[key[2]] += row[0]
        return Counters(
            submitted=sum(row[0] for key, row in series.items() if key[0] == SUBMITTED.name),
            taken=totals["taken"],
            stale=totals["refused"],
            **ended,
        )

    async def _look(self) -> None:
        if not self._leads():
            self._depths = None
            return
        if self._depths is not None and time.monotonic() - self._depths_s < DEPTH_S:
            return
        self._depths_s = time.monotonic()
        found = {depth.queue: depth for depth in await self._index.depths()}
        # A queue that has run empty is told of as empty, and does not just stop.
        counted = {key[1] for key in self._series() if MEASURES[key[0]].named}
        known = counted | {earlier.queue for earlier in ([] if self._depths is None else self._depths.queues)}
        for queue in sorted(known - found.keys())[: max(SERIES_MAX - len(found), 0)]:
            found[queue] = QueueDepth(queue, 0, 0, 0, 0, None)
        queues = sorted(found.values(), key=lambda depth: depth.queue)
        # Those of which we have more to tell keep their names.
        self._depths = Depths(self._clock.now_ms(), queues, folded(queues, counted))

    async def _gather(self) -> None:
        found: dict[str, Told] = {}
        for node, figures in (await self._index.told_figures()).items():
            if node != self._node:
                try:
                    found[node] = _decode(figures)
                except msgspec.DecodeError:
                    continue  # A node of another version: it is missing.
        self._others = found
        old = [node for node, told in found.items() if self._clock.now_ms() - told.at_ms > FORGOTTEN_MS]
        if old:
            await self._index.forget_figures(old)
