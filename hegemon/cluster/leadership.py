"""The half of a node that elects, and that leads when elected: built from the settings, run as a few named services.

    transport ──words of peers──> shell(elector) ──wanted──> office ──held, active──> duties (scheduler, upkeep)
        └────────met───> membership <──registry── witness ──looks, fitness──> shell

Its Redis connections are its own: duties must not wait behind the API's calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from hegemon.cluster.balancing import balancer
from hegemon.cluster.electors import Election, ElectionFault, make_election
from hegemon.cluster.membership import BOOT_SHIFT, Membership
from hegemon.cluster.office import OfficeKeeper
from hegemon.cluster.rebuild import Rebuilder
from hegemon.cluster.recovery import Recovery, Rules
from hegemon.cluster.scheduler import Scheduler
from hegemon.cluster.settings import Settings
from hegemon.cluster.slices import election_timing, milliseconds
from hegemon.cluster.supervisor import Supervisor
from hegemon.cluster.twins import TwinError
from hegemon.cluster.upkeep import Retention, Upkeep
from hegemon.cluster.witness import Witness
from hegemon.election.contract import Health, Member
from hegemon.events.bus import Emit, unheard
from hegemon.events.jobs import JobDead
from hegemon.events.kind import DomainEvent
from hegemon.measures import ENDED, Meters
from hegemon.queue.clock import ClusterClock
from hegemon.queue.index import MemberIndex
from hegemon.queue.leader_index import LeaderIndex
from hegemon.queue.office_store import OfficeStore
from hegemon.queue.queries import JobQueries
from hegemon.queue.redis import Redis
from hegemon.queue.retry import RetryPolicy
from hegemon.queue.store import JobStore

Start = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], asyncio.Task[None]]


class Leadership:
    """Built once; `start` runs its services, `stand_down` hands everything over, `close` ends the connections."""

    def __init__(
        self,
        *,
        settings: Settings,
        boot: int,
        incarnation: Callable[[], str],
        url: Callable[[], str],
        clock: ClusterClock,
        store: JobStore,
        queries: JobQueries,
        offices: OfficeStore,
        rebuild_redis: Redis,
        supervisor: Supervisor,
        policy: RetryPolicy,
        woken: asyncio.Event,
        emit: Emit = unheard,
        meters: Meters | None = None,
    ) -> None:
        self._settings = settings
        self._incarnation = incarnation
        self._clock = clock
        self._store = store
        self._queries = queries
        self._offices = offices
        self._supervisor = supervisor
        self._policy = policy
        self._woken = woken
        self._emit = emit
        self._meters = meters or Meters()
        self._deaths = asyncio.Event()
        stores, election = settings.store, settings.election
        cluster_id = settings.cluster.cluster_id
        self._redis = Redis(stores.redis_url, cluster_id, timeout=stores.redis_timeout, meters=self._meters)
        self._rebuild_redis = rebuild_redis
        self.node = settings.cluster.node_id
        # Set once this node cannot go on in its cluster: it then ends as one that was told to stop.
        self.ended: asyncio.Future[TwinError | ElectionFault] = asyncio.get_running_loop().create_future()
        self.boot = boot
        timing = election_timing(settings)
        me = Member(self.node, incarnation=boot << BOOT_SHIFT, address=election.advertised, rank=election.election_rank)
        self.election: Election = make_election(settings, me, timing, clock.now_ms, random.Random())
        self.shell = self.election.shell
        self.shell.emit = emit
        self.membership = Membership(
            me=me,
            boot=boot,
            incarnation=incarnation,
            view=lambda: self.shell.view,
            tell=self.shell.tell,
            introduce=self.election.introduce,
        )
        self.election.meet(self.membership.met, self.membership.twin_heard)
        self.witness = Witness(
            node=self.node,
            # It must see a server that the index was not confirmed for, too.
            index=MemberIndex(rebuild_redis),
            offices=offices,
            beat_s=election.office_beat.total_seconds(),
            interval_s=timing.interval_s,
            holding=lambda: self.office.held is not None,
            looked=self.election.witnessed,
            fit=self.shell.fit,
            registered=self.membership.registered,
            recorded=self.election.recorded,
            emit=emit,
        )
        self.office = self._make_office(url)

    def _make_office(self, url: Callable[[], str]) -> OfficeKeeper:
        election = self._settings.election
        rebuilder = Rebuilder(
            redis=self._rebuild_redis,
            offices=self._offices,
            store=self._store,
            queries=self._queries,
            clock=self._clock,
            cluster_id=self._settings.cluster.cluster_id,
            node=self.node,
            lease_s=self._settings.worker.worker_lease.total_seconds(),
            expected=self._workers_that_declare,
            began=self._supervisor.call,
            emit=self._emit,
        )
        return OfficeKeeper(
            shell=self.shell,
            store=self._offices,
            redis=self._redis,
            witness=self.witness,
            clock=self._clock,
            node=self.node,
            incarnation=self._incarnation,
            url=url,
            beat_s=election.office_beat.total_seconds(),
            takeover_s=election.office_takeover.total_seconds(),
            duties=self._duties,
            rebuild=rebuilder.rebuild,
            by_majority=election.election_algorithm == "raft",
            emit=self._emit,
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self, go: Start) -> list[asyncio.Task[None]]:
        """Open what listens, then run everything; the tasks. OSError, ElectionFault: see `Election.open`."""
        await self.election.open()
        return [
            go("shell", self.shell.run),
            go("election-watch", lambda: self._until_ended(self.election.watch())),
            go("witness", self.witness.run),
            go("twins", lambda: self._until_ended(self.membership.refuse_twin())),
            go("office", self.office.run),
        ]

    async def _until_ended(self, watch: Coroutine[Any, Any, None]) -> None:
        try:
            await watch
        except (TwinError, ElectionFault) as error:
            if not self.ended.done():
                self.ended.set_result(error)

    async def stand_down(self, reason: str, within_s: float = 2.0) -> None:
        """Resign for good and wait until the office is vacated: whoever succeeds us need not wait for our silence."""
        await self.shell.resign(reason)
        try:
            async with asyncio.timeout(within_s):
                await self.shell.until(lambda: self.shell.wanted is None)
                while self.office.held is not None:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pass  # the counter stands still from now on

    async def close(self) -> None:
        """End the connections."""
        await self.election.close()
        await self._redis.close()

    def information(self) -> dict[str, Any]:
        """What the registry tells others of this node's election."""
        about: dict[str, Any] = {"boot": self.boot}
        if self.election.introduce is not None:
            about["cluster_address"] = self.membership.me.address
            about["rank"] = self.membership.me.rank
        return about

    # -- duties --------------------------------------------------------------------------------------------------------

    async def _workers_that_declare(self) -> set[str] | None:
        """The workers of all live nodes that hold an open incarnation; None while a node has not been heard of: it may
        be dead, or it may be late."""
        enlisted = await self._offices.enlisted()
        nodes = (await MemberIndex(self._rebuild_redis).counts()).nodes
        if enlisted.keys() - nodes.keys() - {self._incarnation()}:
            return None
        others = {worker for information, _ in nodes.values() for worker in information.get("workers", ())}
        return others | {worker.id for worker in self._supervisor.workers.values() if worker.open.is_set()}

    def _gone(self) -> frozenset[str]:
        """Who the election holds to be dead: silent, and not witnessed in the store either."""
        return frozenset(member.id for member in self.shell.view.members if member.health is Health.DEAD)

    def _doubted(self) -> frozenset[str]:
        """Who the election does not hear, for now: cut off from us, or about to be found dead."""
        return frozenset(member.id for member in self.shell.view.members if member.health is Health.SUSPECT)

    def _tell_recovered(self, event: DomainEvent) -> None:
        """No worker counts what the leader gives up."""
        if isinstance(event, JobDead):
            self._meters.at(ENDED, event.queue, "failed").add()
        self._emit(event)

    async def _duties(self, index: LeaderIndex) -> None:
        """The leader's duties under one office and generation."""
        queue = self._settings.queue
        # Under the office's generation: the node's own is as old as its last beat, and a refusal here would be taken
        # for a lost index.
        member = MemberIndex(self._redis)
        member.generation = index.generation
        recovery = Recovery(
            index=index,
            member=member,
            store=self._store,
            queries=self._queries,
            clock=self._clock,
            rules=Rules(crashes_max=queue.max_crashes, max_retries=queue.max_retries, policy=self._policy),
            emit=self._tell_recovered,
        )
        upkeep = Upkeep(
            index=index,
            member=member,
            queries=self._queries,
            offices=self._offices,
            recovery=recovery,
            clock=self._clock,
            lease_s=self._settings.worker.worker_lease.total_seconds(),
            retention=Retention(
                completed_ms=milliseconds(queue.retention_completed), failed_ms=milliseconds(queue.retention_failed)
            ),
            deaths=self._deaths,
            gone=self._gone,
            emit=self._emit,
        )
        scheduler = Scheduler(
            index=index,
            redis=self._redis,
            store=self._store,
            balancer=balancer(self._settings.cluster.load_balancer_strategy, random.Random()),
            clock=self._clock,
            deaths=self._deaths,
            woken=self._woken,
            may=lambda: self.office.is_active,
            gone=self._gone,
            doubted=self._doubted,
            meters=self._meters,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.run(), name="duty-scheduler")
            group.create_task(upkeep.run(), name="duty-upkeep")
