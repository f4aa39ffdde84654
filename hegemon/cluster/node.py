"""The composition root: builds a node's parts in order, runs them in one group, and takes them down in order.

Start: stores checked, identity claimed, incarnation enlisted, workers spawned, office sought, API opened.
Stop: the API takes nothing new, workers finish or hand back, submissions reach the index, the office is handed over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from hegemon.auth.errors import AuthSettingsError
from hegemon.cluster.figures import FigureKeeper
from hegemon.cluster.frontend import Frontend
from hegemon.cluster.heartbeat import Heartbeat
from hegemon.cluster.job_types import JobTypes
from hegemon.cluster.leadership import Leadership
from hegemon.cluster.node_ends import UNJOINED, StartError, raise_foreseen, unjoined
from hegemon.cluster.node_stores import NodeStores
from hegemon.cluster.observer import NodeObserver, Pulse
from hegemon.cluster.protection import Protection
from hegemon.cluster.service import JobService
from hegemon.cluster.settings import Settings
from hegemon.cluster.slices import payload_keys, retry_policy, worker_options
from hegemon.cluster.supervisor import Supervisor
from hegemon.cluster.tracing import TracingSettingsError, tracing
from hegemon.cluster.twins import process_place
from hegemon.election.contract import Health
from hegemon.events.bus import Events
from hegemon.events.cluster import NodeReincarnated, NodeStarted, NodeStopped, NodeStopping
from hegemon.measures import Meters
from hegemon.monitoring.activity import NodeActivity
from hegemon.monitoring.event_lines import log_event
from hegemon.monitoring.heard import Heard
from hegemon.monitoring.logs import flush
from hegemon.monitoring.metrics import NodeMetrics, Sources
from hegemon.monitoring.node_logs import node_logs
from hegemon.queue.acceptance import Limits
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import QueueError, WrongStore
from hegemon.queue.ids import incarnation
from hegemon.queue.job_types import JobTypeStore
from hegemon.queue.jobs import Origin
from hegemon.queue.sealing import Sealer
from hegemon.queue.submit import Submitter
from hegemon.tracing.ports import SubmissionTracer, untraced
from hegemon.version import VERSION

log = structlog.get_logger(__name__)

# How long a stopping node tries to write what its audit log still holds.
CLOSE_S: Final = 5.0


class Node:
    """One node. `run()` lives until `stop` is set; `started` is set when the API answers and a worker is open."""

    def __init__(self, settings: Settings, frontend: Frontend) -> None:
        self._logs = node_logs(settings)
        for warning in settings.warnings:
            log.warning("setting_unknown", hint=warning)
        self._settings = settings
        self._frontend = frontend
        self._node = settings.cluster.node_id
        self._incarnation = incarnation(self._node)
        self.started = asyncio.Event()
        self._clock = ClusterClock()
        self._events = Events(self._node, self._clock.now_ms)
        self._meters = Meters()
        self._heard = Heard(self._meters)
        self._events.subscribe(log_event)
        self._pulse = Pulse()
        self._beat_now = asyncio.Event()
        self._woken = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Start, live, stop in order. Raises `StartError` with a sentence when it cannot start."""
        try:
            self._tracing = tracing(self._settings)
            self._connect()
        except (WrongStore, AuthSettingsError, TracingSettingsError) as error:
            raise StartError(str(error)) from error
        try:
            await self._join()
            self._build()
            await self._live(stop)
        except UNJOINED as error:
            raise unjoined(error) from error
        finally:
            await self._stores.close()
            if self._tracing is not None:
                self._tracing.close()
            flush()

    # -- building ------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._stores = NodeStores(self._settings, self._meters)
        self._activity = NodeActivity(self._stores.database, self._node)
        self._types = JobTypes(JobTypeStore(self._stores.database), self._node, self._clock)
        self._protection: Protection | None = None
        if self._settings.auth.auth_enabled:
            self._protection = Protection(
                self._settings,
                self._stores.client,
                self._clock,
                leads=lambda: self._leadership.office.held is not None,
                monotonic=time.monotonic,
                emit=self._events.emit,
            )

    async def _join(self) -> None:
        prepare = None if self._protection is None else self._protection.prepare
        self._boot = await self._stores.join(self._incarnation, self._clock, prepare)
        await self._activity.listen(self._events, self._boot)
        self._events.subscribe(self._heard.add)

    def _build(self) -> None:
        self._policy = retry_policy(self._settings.queue)
        self._started_at = self._clock.now_ms()
        self._build_work()
        self._leadership = Leadership(
            settings=self._settings,
            boot=self._boot,
            incarnation=lambda: self._incarnation,
            url=lambda: self._frontend.url,
            clock=self._clock,
            store=self._stores.jobs,
            queries=self._stores.queries,
            offices=self._stores.offices,
            rebuild_redis=self._stores.rebuild_redis,
            supervisor=self._supervisor,
            policy=self._policy,
            woken=self._woken,
            emit=self._events.emit,
            meters=self._meters,
        )
        self._build_views()

    def _build_work(self) -> None:
        """What accepts, runs and answers for jobs."""
        settings = self._settings
        queue, cluster, worker = settings.queue, settings.cluster, settings.worker
        sealer = Sealer.of(payload_keys(settings))
        tracer: SubmissionTracer = untraced
        if self._tracing is not None:
            tracer = self._tracing.submitting
        self._submitter = Submitter(
            store=self._stores.jobs,
            queries=self._stores.queries,
            index=self._stores.index,
            clock=self._clock,
            origin=Origin(self._node, self._incarnation),
            cluster_id=cluster.cluster_id,
            limits=Limits(
                depth_max=queue.max_queue_depth,
                buffer_max=queue.submit_buffer,
                batch_max=queue.max_batch_size,
                payload_bytes_max=queue.max_payload_size,
            ),
            mongo_breaker=self._stores.mongo_breaker,
            redis_breaker=self._stores.redis_breaker,
            reborn=self._reincarnate,
            indexed=self._woken.set,
            working=lambda: self._supervisor.working,
            sealer=sealer,
            meters=self._meters,
        )
        self._supervisor = Supervisor(
            node=self._node,
            options=worker_options(settings, self._incarnation, self._policy),
            slots=worker.worker_count,
            processes=worker.worker_processes,
            suspect_processes=worker.suspect_processes,
            lease_s=worker.worker_lease.total_seconds(),
            index=self._stores.index,
            opened=self._beat_now.set,
            emit=self._events.emit,
            described=self._types.told,
            meters=self._meters,
            keep=self._logs.keep,
        )
        self._service = JobService(
            submitter=self._submitter,
            store=self._stores.jobs,
            queries=self._stores.queries,
            index=self._stores.index,
            clock=self._clock,
            mongo_breaker=self._stores.mongo_breaker,
            redis_breaker=self._stores.redis_breaker,
            sealer=sealer,
            emit=self._events.emit,
            tracer=tracer,
        )
        self._heartbeat = Heartbeat(
            index=self._stores.index,
            supervisor=self._supervisor,
            submitter=self._submitter,
            clock=self._clock,
            pulse=self._pulse,
            beat_s=worker.worker_beat.total_seconds(),
            incarnation=lambda: self._incarnation,
            information=self._information,
            now=self._beat_now,
        )

    def _build_views(self) -> None:
        """What people and Prometheus look at."""
        membership = self._leadership.membership
        self._figures = FigureKeeper(
            node=self._node,
            supervisor=self._supervisor,
            index=self._stores.index,
            clock=self._clock,
            leads=lambda: self._leadership.office.is_active,
            members=lambda: [known.member.id for known in membership.members() if known.member.health is Health.ALIVE],
        )
        self._observer = NodeObserver(
            settings=self._settings,
            version=VERSION,
            incarnation=lambda: self._incarnation,
            started_at=self._started_at,
            queries=self._stores.queries,
            index=self._stores.index,
            offices=self._stores.offices,
            leadership=self._leadership,
            supervisor=self._supervisor,
            pulse=self._pulse,
            mongo_breaker=self._stores.mongo_breaker,
            redis_breaker=self._stores.redis_breaker,
            url=lambda: self._frontend.url,
            activity=self._activity,
            types=self._types,
            figures=self._figures,
            logs=self._logs,
        )
        self._metrics = NodeMetrics(
            Sources(
                cluster=self._settings.cluster.cluster_id,
                node=self._node,
                algorithm=self._settings.election.election_algorithm,
                supervisor=self._supervisor,
                leadership=self._leadership,
                pulse=self._pulse,
                figures=self._figures,
                heard=self._heard,
                certificate_ends_s=lambda: self._frontend.certificate_ends_s,
                data=self._settings.store.store_data_dir,
                streams=lambda: self._frontend.activity_streams,
            )
        )

    # -- living --------------------------------------------------------------------------------------------------------

    async def _live(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:

                def go(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
                    return group.create_task(work(), name=name)

                # First, so that nobody is let in by a list of revocations that nothing keeps fresh.
                guards = [] if self._protection is None else [go("protection", self._protection.run)]
                metrics = self._metrics.render if self._settings.server.metrics_enabled else None
                await self._frontend.start(self._service, self._observer, metrics, self._protection, self._meters)
                leading = await self._leadership.start(go)
                loops = [
                    go("beat", self._heartbeat.run),
                    go("submitter", self._submitter.run),
                    go("service", self._service.run),
                    go("activity", self._activity.run),
                    go("job-types", self._types.run),
                    go("figures", self._figures.run),
                ]
                workers = go("supervisor", self._supervisor.run)
                announce = go("announce", self._announce)
                fault = await self._told_to_stop(stop)
                log.info("node_stopping", node=self._node)
                self._events.emit(NodeStopping(str(fault or "it was told to")))
                announce.cancel()
                # The beat would write itself back into the tables that we leave.
                await self._drain(workers, beat=loops[0])
                if self._protection is not None:
                    # Two that write the log at once would write it twice.
                    for guard in guards:
                        guard.cancel()
                    await asyncio.wait(guards)
                    await self._protection.close(CLOSE_S)
                for task in (*loops, *leading):
                    task.cancel()
                if fault is not None:
                    raise fault
        except BaseExceptionGroup as failed:
            raise_foreseen(failed, started=self.started.is_set())
            raise
        finally:
            await self._frontend.stop(0.0)
            await self._leadership.close()

    async def _told_to_stop(self, stop: asyncio.Event) -> Exception | None:
        """Wait for the order to stop, or for what keeps this node from going on in its cluster: that is returned. Its
        workers work all the same, so that it drains either way."""
        ended, told = self._leadership.ended, asyncio.ensure_future(stop.wait())
        either: list[asyncio.Future[Any]] = [told, ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        if not ended.done():
            return None
        log.error("node_cannot_go_on", node=self._node, reason=str(ended.result()))
        return ended.result()

    async def _reincarnate(self) -> Origin:
        """Taken for dead and swept, while we were only slow: the old incarnation is swept once more, for what it
        accepted since, and we go on under a new one.
        """
        now_ms = self._clock.now_ms()
        await self._stores.offices.enlist(self._incarnation, self._node, now_ms)
        reborn = incarnation(self._node)
        await self._stores.offices.enlist(reborn, self._node, now_ms)
        log.warning("node_reincarnated", node=self._node, was=self._incarnation, now=reborn)
        self._events.emit(NodeReincarnated(self._incarnation, reborn))
        self._incarnation = reborn
        return Origin(self._node, reborn)

    async def _announce(self) -> None:
        while not (await self._observer.ready()).ok:
            await asyncio.sleep(0.02)
        log.info("node_started", node=self._node, url=self._frontend.url, version=VERSION)
        self._events.emit(NodeStarted(self._frontend.url, VERSION))
        self.started.set()

    async def _drain(self, workers: asyncio.Task[None], beat: asyncio.Task[None]) -> None:
        """Hand the office over, take nothing new, finish or hand back, index what was accepted, leave."""
        within_s = self._settings.cluster.shutdown_timeout.total_seconds()
        alone = self._settings.election.election_algorithm == "solo"
        if not alone:
            await self._leadership.stand_down("the node is stopping")
        await self._frontend.stop(min(within_s, 5.0))
        await self._supervisor.stop(within_s)
        workers.cancel()
        deadline = time.monotonic() + 5.0
        while not self._submitter.idle() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if alone:
            # Nobody succeeds us: what our workers leave behind is better sorted by us than after the next start.
            await self._leadership.stand_down("the node is stopping")
        beat.cancel()
        await asyncio.wait({beat}, timeout=5.0)
        if self._submitter.idle():
            try:
                await self._stores.index.leave(self._incarnation)
                await self._stores.offices.discharge(self._incarnation)
            except QueueError as error:
                # The leader sweeps for this incarnation, in vain.
                log.warning("left_without_discharge", node=self._node, reason=str(error))
        log.info("node_stopped", node=self._node)
        self._events.emit(NodeStopped())
        await self._activity.drain()

    def _information(self) -> dict[str, Any]:
        return {
            "id": self._node,
            "url": self._frontend.url,
            "version": VERSION,
            "strategy": self._settings.cluster.load_balancer_strategy,
            "started_at": self._started_at,
            "process": process_place(),
            # Whoever rebuilds the index waits for these to say what they hold.
            "workers": [worker.id for worker in self._supervisor.workers.values() if worker.open.is_set()],
            **self._leadership.information(),
        }
