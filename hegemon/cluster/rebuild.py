"""Building the Redis index anew from MongoDB: after a loss of Redis's data, another server, or for a first start.

    rebuilding ──cleared──> declaring ──live workers have said what they hold──> indexing ──all live documents──> ready

1. The generation rises by compare-and-set in MongoDB, so that nothing sent under the old one is applied any more.
2. The marker says `rebuilding`; everything else of this cluster is deleted.
3. `declaring`: workers that live say what they hold; those claims stand if their documents bear them out.
4. `indexing`: every other live document wins a new attempt, so that claims nobody declared are void; then it is
   indexed, in the order of `seq`, which is the order that the lists had.
5. `ready`. Submitters meanwhile kept what they accepted; they probe, read and add what is missing.

A flush or a new server during a rebuild shows as an absent marker: it begins again. A newer epoch ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hegemon.events.bus import Emit, unheard
from hegemon.events.cluster import RebuildFinished, RebuildStarted
from hegemon.failpoints import failpoint
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import encode_body, entry_text, parse_entry
from hegemon.queue.errors import Fenced, IndexRefused, StoreUnavailable
from hegemon.queue.jobs import Document
from hegemon.queue.leader_index import LeaderIndex, Placement
from hegemon.queue.office_store import Office, OfficeStore
from hegemon.queue.queries import JobQueries
from hegemon.queue.redis import Redis
from hegemon.queue.states import LIVE, Event, Status, after
from hegemon.queue.store import JobStore

log = structlog.get_logger(__name__)

DECLARE_POLL_S: Final = 0.03


class Rebuilder:
    """`redis` must not confirm the server's run id: a rebuild is what confirms it."""

    def __init__(
        self,
        *,
        redis: Redis,
        offices: OfficeStore,
        store: JobStore,
        queries: JobQueries,
        clock: ClusterClock,
        cluster_id: str,
        node: str,
        lease_s: float,
        expected: Callable[[], Awaitable[set[str] | None]],
        began: Callable[[], None],
        emit: Emit = unheard,
    ) -> None:
        self._redis = redis
        self._offices = offices
        self._store = store
        self._queries = queries
        self._clock = clock
        self._cluster_id = cluster_id
        self._node = node
        self._lease_s = lease_s
        self._expected = expected
        self._began = began
        self._emit = emit

    async def rebuild(self, office: Office) -> Office | None:
        """The office with its new generation once the index is whole; None if the office was lost."""
        while True:
            try:
                await self._redis.drop_connections()
                await self._redis.command("PING")
                run_id = self._redis.run_id
                raised = await self._offices.new_generation(office, run_id)
                if raised is None:
                    return None
                office = raised
                failpoint("rebuild.after_generation")
                await self._build(office, run_id)
                return office
            except Fenced as error:
                if error.reason == "newer":
                    return None
                log.warning("rebuild_again", reason=str(error))
            except (StoreUnavailable, IndexRefused) as error:
                log.warning("rebuild_waits", reason=str(error))
                await asyncio.sleep(0.2)

    async def _build(self, office: Office, run_id: str) -> None:
        index = LeaderIndex(self._redis, epoch=office.epoch, generation=office.generation)
        began = time.monotonic()
        self._emit(RebuildStarted(office.generation))

        async def move_on(state: str) -> None:
            await index.rebuild_state(
                state, run_id=run_id, cluster_id=self._cluster_id, node=self._node, clock_ms=self._clock.now_ms()
            )
            if self._redis.run_id != run_id:
                raise StoreUnavailable("Redis", "it was restarted while the index was rebuilt")

        await move_on("rebuilding")
        await index.clear()
        await move_on("declaring")
        await self._let_declare(index, lambda: move_on("declaring"), first=office.generation == 1)
        await move_on("indexing")
        declared = await index.declared()
        indexed = 0
        borne_out: set[str] = set()
        async for page in self._queries.live_in_order():
            placements = await self._page(page, declared)
            borne_out |= {parse_entry(place.entry).id for place in placements if place.holder}
            indexed += await index.rebuild_add(placements)
        for worker, held in declared.items():
            stale = [job_id for job_id in held if job_id not in borne_out]
            if stale:
                await index.undeclare(worker, stale)
        failpoint("rebuild.before_ready")
        await move_on("ready")
        seconds = round(time.monotonic() - began, 3)
        log.warning("index_rebuilt", generation=office.generation, jobs=indexed, seconds=seconds)
        self._emit(RebuildFinished(office.generation, indexed, seconds))

    async def _let_declare(self, index: LeaderIndex, still: Callable[[], Awaitable[None]], *, first: bool) -> None:
        """Wait until every worker that may live has declared, or cannot start anything any more: its lease has run out,
        since nobody's beat has found an open incarnation after `clear`. Who comes later returns as another. `still`
        finds out at once that Redis has lost this rebuild meanwhile, so that it must begin anew.
        """
        if first:
            return  # No index was ever there: nobody can hold anything.
        deadline = time.monotonic() + self._lease_s
        while time.monotonic() < deadline:
            self._began()
            await still()
            expected = await self._expected()
            if expected is not None and expected <= (await index.declared()).keys():
                return
            await asyncio.sleep(DECLARE_POLL_S)

    async def _page(self, ids: list[str], declared: dict[str, dict[str, str]]) -> list[Placement]:
        holders = {job_id: worker for worker, held in declared.items() for job_id in held}
        found = await self._queries.many(ids)
        now_ms = self._clock.now_ms()
        changes = []
        standing = {}
        for job_id, document in found.items():
            worker = holders.get(job_id)
            if worker is not None and declared[worker][job_id] == entry_text(document):
                standing[job_id] = worker
            elif document["status"] in LIVE:
                changes.append((job_id, document["attempt"], _void(document, now_ms)))
        await self._store.change(changes)
        failpoint("rebuild.after_bump")
        found = await self._queries.many(ids)
        placements = []
        for job_id in ids:
            document = found.get(job_id, {})
            if document.get("status") not in LIVE:
                continue
            holder = standing.get(job_id)
            if holder is not None and declared[holder][job_id] != entry_text(document):
                holder = None  # It moved on meanwhile, by its holder's own hand: its next attempt is indexed.
            placements.append(Placement(entry_text(document), encode_body(document), document.get("due"), holder))
        return placements


def _void(document: Document, now_ms: int) -> Document:
    """Void whatever claim there may be. What was marked as running with nobody to declare it is a suspect,
    uncounted.
    """
    change: Document = {"$inc": {"attempt": 1}, "$set": {"updated_at": now_ms}}
    if document["status"] == Status.RUNNING:
        change["$set"]["status"] = after(Status.RUNNING, Event.RECOVER).value
    return change
