"""The leader's rounds: judge who lives, close the dead, recover, rebalance, sweep, check, audit, prune."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec
import structlog

from hegemon.cluster.hoards import Hoards
from hegemon.cluster.liveness import Liveness
from hegemon.cluster.recovery import REMOVED, DeathReport, Recovery, marks_of
from hegemon.events.bus import Emit, unheard
from hegemon.events.cluster import HoardReclaimed, NodeJoined, NodeLeft, NodeLost, UnindexedFound, WorkerClosed
from hegemon.events.jobs import JobsRecovered
from hegemon.failpoints import failpoint
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import Fenced, IndexRefused, StoreUnavailable
from hegemon.queue.index import MemberIndex
from hegemon.queue.leader_index import LeaderIndex, Round
from hegemon.queue.office_store import OfficeStore
from hegemon.queue.queries import JobQueries
from hegemon.queue.states import LIVE, Status

log = structlog.get_logger(__name__)

ROUND_S: Final = 0.25
SWEEP_S: Final = 1.0
REBALANCE_S: Final = 0.5
AUDIT_S: Final = 1.0
AUDIT_PAGE: Final = 1000
# A live document younger than this may still be on its way into the index.
AUDIT_AGE_MS: Final = 60_000
PRUNE_S: Final = 60.0
FAULT_PAUSE_S: Final = 1.0
# Longer than any submitter trusts what it has not indexed yet (submit._STALE_S).
TOMBSTONE_MS: Final = 30_000


class Retention(msgspec.Struct, frozen=True):
    """How long ended jobs are kept, in ms; 0 keeps them for ever."""

    completed_ms: int
    failed_ms: int


class Upkeep:
    """Runs under one office; ends by a refusal. A store that is away only pauses it."""

    def __init__(
        self,
        *,
        index: LeaderIndex,
        member: MemberIndex,
        queries: JobQueries,
        offices: OfficeStore,
        recovery: Recovery,
        clock: ClusterClock,
        lease_s: float,
        retention: Retention,
        deaths: asyncio.Event,
        gone: Callable[[], AbstractSet[str]] = frozenset,
        emit: Emit = unheard,
    ) -> None:
        self._index = index
        self._member = member
        self._queries = queries
        self._offices = offices
        self._recovery = recovery
        self._clock = clock
        self._retention = retention
        self._deaths = deaths
        self._workers = Liveness(lease_s + 0.1)
        self._nodes = Liveness(lease_s + 0.1)
        self._gone = gone
        self._hoards = Hoards()
        self._nodes_of: dict[str, str] = {}
        # Node by incarnation; None before the first look.
        self._enlisted: dict[str, str] | None = None
        self._emit = emit
        self._silent: Sequence[str] = ()
        self._audited = ""

    async def run(self) -> None:
        """All rounds, each at its own pace."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._paced(self._round, ROUND_S, self._deaths), name="upkeep-round")
            group.create_task(self._paced(self._sweep, SWEEP_S), name="upkeep-sweep")
            group.create_task(self._paced(self._rebalance, REBALANCE_S), name="upkeep-rebalance")
            group.create_task(self._paced(self._audit, AUDIT_S), name="upkeep-audit")
            group.create_task(self._paced(self._prune, PRUNE_S), name="upkeep-prune")

    async def _paced(
        self, duty: Callable[[], Coroutine[object, object, None]], pace_s: float, early: asyncio.Event | None = None
    ) -> None:
        while True:
            if early is not None:
                early.clear()
            try:
                await duty()
            except StoreUnavailable as error:
                log.warning("upkeep_paused", duty=duty.__qualname__, reason=str(error))
            except (Fenced, IndexRefused):
                raise
            except Exception:  # a fault of one duty must not end the others, nor the node
                log.exception("upkeep_failed", duty=duty.__qualname__)
                await asyncio.sleep(FAULT_PAUSE_S)
            if early is None:
                await asyncio.sleep(pace_s)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pace_s):
                    await early.wait()

    async def _round(self) -> None:
        seen = await self._index.round(self._clock.now_ms() - TOMBSTONE_MS)
        # Judged here and not by the sweep: its pace would be longer than the pause after which a judge begins anew.
        self._silent = self._nodes.dead((self._enlisted or {}).keys() | seen.nodes.keys(), seen.beats, time.monotonic())
        self._nodes_of = {name: about["node"] for name, about in seen.workers.items() if not about["solo"]}
        closed = await self._close_dead(seen)
        if closed:
            seen = await self._index.round(self._clock.now_ms() - TOMBSTONE_MS)
        while seen.recovering:
            if recovered := await self._recovery.recover(seen.recovering):
                self._emit(JobsRecovered(recovered))
            again = await self._index.round(self._clock.now_ms() - TOMBSTONE_MS)
            if again.recovering.keys() == seen.recovering.keys():
                break  # Somebody else won these attempts; the next round reads them again.
            seen = again
        if seen.check:
            await self._recovery.reindex(seen.check)
        if seen.tombstones:
            await self._bury(list(seen.tombstones))

    async def _close_dead(self, seen: Round) -> int:
        now = time.monotonic()
        silent = set(self._workers.dead(seen.workers, seen.beats, now))
        for worker in silent | (seen.dead.keys() & seen.workers.keys()):
            raw = seen.dead.get(worker)
            report = None if raw is None else msgspec.convert(raw, DeathReport)
            mark, marks = marks_of(report)
            if report is not None:
                self._recovery.reasons[worker] = report.why
            moved = await self._index.close_worker(worker, self._clock.now_ms(), mark, marks)
            failpoint("recover.after_close")
            why = report.why if report else "lease ran out"
            log.warning("worker_closed", worker=worker, jobs=moved, reason=why)
            self._emit(WorkerClosed(worker, moved, why))
        return len(silent) + len(seen.dead)

    async def _bury(self, ids: list[str]) -> None:
        found = await self._queries.many(ids, {"status": 1, "attempt": 1})
        live = [job_id for job_id in ids if job_id in found and found[job_id]["status"] in LIVE]
        # A cancellation that died between its two halves: the job lives, so it runs.
        await self._recovery.reindex(live)
        ended = {
            job_id: found[job_id]["attempt"] if job_id in found else REMOVED for job_id in ids if job_id not in live
        }
        if ended:
            await self._index.bury(ended)

    async def _rebalance(self) -> None:
        """What a worker leaves lying goes to others, at once if its node is held to be dead; one that is alone keeps
        it, since nobody else could have it."""
        if len(self._nodes_of) < 2:
            return
        gone = self._gone()
        inboxes = await self._index.inboxes()
        hoarders = set(self._hoards.judge(inboxes, time.monotonic()))
        for worker in hoarders | {name for name in inboxes if self._nodes_of.get(name) in gone}:
            moved = await self._index.reclaim(worker)
            log.warning("hoard_reclaimed", worker=worker, jobs=moved)
            self._emit(HoardReclaimed(worker, moved))

    async def _sweep(self) -> None:
        """What dead nodes accepted and did not index."""
        before, self._enlisted = self._enlisted, await self._offices.enlisted()
        self._tell_members(before, self._enlisted)
        silent, self._silent = self._silent, ()
        for incarnation in silent:
            await self._index.close_node(incarnation)
            swept = 0
            async for page in self._queries.live_of(incarnation):
                swept += await self._reindex_absent(page)
            await self._offices.discharge(incarnation)
            log.warning("node_swept", incarnation=incarnation, jobs=swept)
            # No more of it: that it is off the list is no news at the next look.
            member = self._enlisted.pop(incarnation, incarnation.partition("~")[0])
            self._emit(NodeLost(member, incarnation, swept))

    def _tell_members(self, before: dict[str, str] | None, now: dict[str, str]) -> None:
        """Who was there when we took the office is no news."""
        if before is None:
            return
        for incarnation in sorted(now.keys() - before.keys()):
            self._emit(NodeJoined(now[incarnation], incarnation))
        for incarnation in sorted(before.keys() - now.keys()):
            self._emit(NodeLeft(before[incarnation], incarnation))

    async def _audit(self) -> None:
        """Walk the live documents, a page at a time and for ever: what lives and has no body goes back into the
        index.
        """
        page = await self._queries.live_page(self._audited, self._clock.now_ms() - AUDIT_AGE_MS, AUDIT_PAGE)
        self._audited = page[-1] if len(page) == AUDIT_PAGE else ""
        if page:
            found = await self._reindex_absent(page)
            if found:
                log.error("audit_found_unindexed", jobs=found)
                self._emit(UnindexedFound(found))

    async def _reindex_absent(self, ids: list[str]) -> int:
        indexed = await self._member.probe(ids)
        return await self._recovery.reindex([job_id for job_id in ids if indexed[job_id] == 0])

    async def _prune(self) -> None:
        """Remove what retention no longer keeps."""
        now = self._clock.now_ms()
        kept = (
            (Status.COMPLETED, self._retention.completed_ms),
            (Status.FAILED, self._retention.failed_ms),
            (Status.CANCELLED, self._retention.completed_ms),
        )
        for status, keep_ms in kept:
            after_id: str | None = ""
            while keep_ms and after_id is not None:
                _, after_id = await self._queries.prune(status, now - keep_ms, after_id)
