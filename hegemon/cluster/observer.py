"""The port `Observer`: what people may look at, gathered from the index, the office and the supervisor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, get_args

import msgspec

from hegemon.cluster.election_settings import ElectionAlgorithm
from hegemon.cluster.figures import FigureKeeper
from hegemon.cluster.job_types import JobTypes
from hegemon.cluster.leadership import Leadership
from hegemon.cluster.log_ports import LogFilter, LogPage, Logs
from hegemon.cluster.membership import Known
from hegemon.cluster.ports import (
    Activity,
    ActivityFeed,
    ActivityFilter,
    ActivityPage,
    ElectionInfo,
    Health,
    LeaderInfo,
    MemberInfo,
    NodeInfo,
    NodeStats,
    QueueStats,
    Stats,
    TypeInfo,
    WorkerInfo,
    member_info,
)
from hegemon.cluster.settings import Settings
from hegemon.cluster.supervisor import Supervisor
from hegemon.election.contract import Role
from hegemon.queue.breaker import Breaker
from hegemon.queue.errors import QueueError, StoreUnavailable
from hegemon.queue.index import READY, IndexCounts, MemberIndex
from hegemon.queue.office_store import OfficeStore
from hegemon.queue.queries import JobQueries

COUNTS_S: Final = 1.0
ALGORITHMS: Final = list(get_args(ElectionAlgorithm))
# How long a step-down waits to see the office given up before it answers all the same.
STEP_DOWN_S: Final = 1.0
# The loop that the node's life hangs on must have turned within this time for the node to be live.
LOOP_PATIENCE_S: Final = 10.0


class Pulse(msgspec.Struct):
    """What the beat loop last saw. Times are monotonic seconds; 0 is never. `refused`: Redis took no writes."""

    turned_s: float = 0.0
    acknowledged_s: float = 0.0
    refused: bool = False
    generation: int = 0
    state: str = ""
    epoch: int = 0
    depth: int = 0
    lag_s: float = 0.0


class NodeObserver:
    """One node's view."""

    def __init__(
        self,
        *,
        settings: Settings,
        version: str,
        incarnation: Callable[[], str],
        started_at: int,
        queries: JobQueries,
        index: MemberIndex,
        offices: OfficeStore,
        leadership: Leadership,
        supervisor: Supervisor,
        pulse: Pulse,
        mongo_breaker: Breaker,
        redis_breaker: Breaker,
        url: Callable[[], str],
        activity: Activity,
        types: JobTypes,
        figures: FigureKeeper,
        logs: Logs,
    ) -> None:
        self._settings = settings
        self._version = version
        self._incarnation = incarnation
        self._started_at = started_at
        self._queries = queries
        self._index = index
        self._offices = offices
        self._leadership = leadership
        self._office = leadership.office
        self._shell = leadership.shell
        self._supervisor = supervisor
        self._pulse = pulse
        self._mongo = mongo_breaker
        self._redis = redis_breaker
        self._url = url
        self._activity = activity
        self._types = types
        self._figures = figures
        self._logs = logs
        self._counted: tuple[float, dict[str, int]] = (0.0, {})
        self._epoch = 0

    @property
    def _node(self) -> str:
        return self._settings.cluster.node_id

    @property
    def feed(self) -> ActivityFeed:
        """See the port."""
        return self._activity.feed

    async def stats(self) -> Stats:
        """Counts; MongoDB is asked at most once a second."""
        when, jobs = self._counted
        if not jobs or time.monotonic() - when > COUNTS_S:
            async with self._mongo.guard():
                jobs = await self._queries.counts()
            self._counted = (time.monotonic(), jobs)
        counts = await self._counts()
        strategy = self._settings.cluster.load_balancer_strategy
        return Stats(
            jobs=jobs,
            queue=QueueStats(counts.ready, counts.delayed, counts.held, counts.parked),
            node=NodeStats(self._node, self._office.is_active, strategy),
            figures=await self._figures.figures(),
        )

    async def workers(self) -> list[WorkerInfo]:
        """Open worker processes of the whole cluster."""
        counts = await self._counts()
        return [
            WorkerInfo(
                id=name,
                node=information["node"],
                pid=information["pid"],
                slots=information["slots"],
                held=held,
                solo=information["solo"],
                types=information["types"],
                started_at=information["started_at"],
            )
            for name, (information, held) in sorted(counts.workers.items())
        ]

    async def types(self) -> list[TypeInfo]:
        """What live workers handle, as their nodes told it."""
        workers = await self.workers()
        async with self._mongo.guard():
            return await self._types.known(workers)

    async def nodes(self) -> list[NodeInfo]:
        """Nodes as the index knows them."""
        counts = await self._counts()
        async with self._mongo.guard():
            leader = await self._offices.read()
        membership = self._leadership.membership
        lease_s = self._settings.worker.worker_lease.total_seconds()
        found = []
        for incarnation, (information, _) in sorted(counts.nodes.items()):
            mine = [(info, held) for info, held in counts.workers.values() if info["node_incarnation"] == incarnation]
            found.append(
                NodeInfo(
                    id=information["id"],
                    incarnation=incarnation,
                    url=information["url"],
                    version=information["version"],
                    alive=incarnation == self._incarnation() or membership.silent_s(incarnation) < lease_s,
                    is_leader=not leader.vacant and leader.incarnation == incarnation,
                    slots=sum(info["slots"] for info, _ in mine if not info["solo"]),
                    held=sum(held for _, held in mine),
                    strategy=information["strategy"],
                    started_at=information["started_at"],
                )
            )
        return found

    async def leader(self) -> LeaderInfo:
        """The office as the majority has it."""
        async with self._mongo.guard():
            office = await self._offices.read()
        return LeaderInfo(None if office.vacant else office.node, office.epoch, office.generation, office.url or None)

    def election(self) -> ElectionInfo:
        """This node's belief."""
        view = self._shell.view
        held = self._office.held
        # Right after an office is lost the last beat may still show the epoch before it, and an epoch never falls.
        self._epoch = held.epoch if held else max(self._epoch, self._pulse.epoch)
        return ElectionInfo(
            node_id=self._node,
            current_algorithm=self._settings.election.election_algorithm,
            supported_algorithms=ALGORITHMS,
            role=str(view.role),
            is_leader=held is not None,
            active=self._office.is_active,
            leader_id=view.leader,
            term=view.term,
            epoch=self._epoch,
            members=[self._member(known) for known in self._leadership.membership.members()],
            last_changes=[msgspec.to_builtins(change) for change in self._shell.changes[-20:]],
            traffic=dict(self._leadership.election.traffic),
        )

    @staticmethod
    def _member(known: Known) -> MemberInfo:
        registered = {"slots": known.slots, "held": known.held, "types": known.types}
        return member_info(known.member, {**known.information, **registered})

    async def step_down(self, pause_s: float) -> bool:
        """Resign in the election; the office follows it."""
        if self._office.held is None and self._shell.view.role is not Role.LEADER:
            return False
        await self._shell.resign("an operator asked for it", pause_s)
        deadline = time.monotonic() + STEP_DOWN_S
        while self._office.held is not None and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        return True

    def cluster(self) -> dict[str, Any]:
        """What this cluster is."""
        cluster = self._settings.cluster
        return {
            "cluster_id": cluster.cluster_id,
            "version": self._version,
            "node_id": self._node,
            "algorithm": self._settings.election.election_algorithm,
            "strategy": cluster.load_balancer_strategy,
            "generation": self._pulse.generation,
            "url": self._url(),
            "started_at": self._started_at,
        }

    async def activity(self, which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
        """See the port."""
        try:
            async with self._mongo.guard():
                return await self._activity.page(which, limit=limit, after=after)
        except StoreUnavailable:
            others = [known.member.id for known in self._leadership.membership.members()]
            missing = [name for name in others if name != self._node]
            return self._activity.own(which, limit=limit, after=after, missing=missing)

    def logs(self, which: LogFilter, *, limit: int, after: str | None) -> LogPage:
        """See the port."""
        return self._logs.page(which, limit=limit, after=after)

    async def live(self) -> Health:
        """The loops turn: this node's own, and those of its worker processes."""
        now = time.monotonic()
        parts = {"control_loop": "ok"}
        if now - self._pulse.turned_s > LOOP_PATIENCE_S:
            parts["control_loop"] = f"has not turned for {now - self._pulse.turned_s:.0f} s"
        claiming = [worker for worker in self._supervisor.workers.values() if not worker.solo]
        parts["workers"] = "ok" if claiming else "no worker process is running"
        # A handler may hold a worker's loop until its hard timeout; a loop that stands without one is broken.
        stuck = [
            worker.id
            for worker in claiming
            if worker.open.is_set()
            and now - max(worker.board.loop_beat_s(), worker.started_s) > LOOP_PATIENCE_S
            and not worker.board.running()
        ]
        parts["claim_loop"] = f"does not turn in {', '.join(stuck)}" if stuck else "ok"
        return Health(all(part == "ok" for part in parts.values()), parts)

    async def ready(self) -> Health:
        """Both stores answer, the index is whole, a worker is open."""
        now = time.monotonic()
        parts = {"redis": "ok", "mongodb": "ok", "index": "ok", "workers": "ok"}
        if now - self._pulse.acknowledged_s > 3 * self._settings.worker.worker_beat.total_seconds() or self._redis.open:
            parts["redis"] = "takes no writes" if self._pulse.refused else "does not answer"
        if self._mongo.open:
            parts["mongodb"] = _away(self._mongo.refused)
        else:
            try:
                await self._offices.read()
            except StoreUnavailable as error:
                parts["mongodb"] = _away(error.refuses)
        if self._pulse.state != READY:
            parts["index"] = "is being rebuilt" if self._pulse.state else "is not there yet"
        if not any(worker.open.is_set() and not worker.solo for worker in self._supervisor.workers.values()):
            parts["workers"] = "none is open yet"
        return Health(all(part == "ok" for part in parts.values()), parts)

    async def _counts(self) -> IndexCounts:
        try:
            async with self._redis.guard():
                return await self._index.counts()
        except StoreUnavailable:
            raise
        except QueueError as error:
            raise StoreUnavailable("Redis", str(error)) from error


def _away(refuses: bool) -> str:
    # Anybody may ask for this: the driver's words name hosts, ports and users.
    return "refuses this node's user" if refuses else "does not answer"
