"""Holding the office: election is for liveness, the office is for safety.

    candidate ──elected──> won ──compare-and-set in MongoDB──> in office ──marker raised, index whole──> active
        ^                   │ holder's counter moves: wait            │ marker absent or older: rebuild      │
        └───────────────────┴───────── lost the election, a newer epoch seen, resigned ───────────────────────┘

The office may be taken when its document says vacant; when its holder's counter stood still for OFFICE_TAKEOVER on the
taker's own monotonic clock (`witness`); and, by who was elected by a majority (Raft), when that election's term is
above the one recorded with the office. Whoever loses the election stops its duties first and vacates then.

| what is trusted | until when |
|---|---|
| that nobody holds the office | the compare-and-set, on the very epoch that was seen to be free |
| that we hold it | a script answers `newer`, or MongoDB shows a newer epoch; every leader's script asks |
| that the index is whole | a script answers `absent` or `older`, or a new connection finds another server |
| that both stores are reached | PAUSE_S after the last answer of the slower one; then nothing is dispatched |

| failure | effect |
|---|---|
| the reply to the compare-and-set is lost | the nonce is read back; ours means that we hold the office |
| Redis away or stalled | not active after PAUSE_S; the counter stands still, so another may succeed us |
| MongoDB away or stalled | not active after PAUSE_S: dispatch pauses, what is dispatched goes on |
| a store stays away from us alone | the elector stands down once another member reaches both (`Fitness`); we vacate |
| the holder died before it raised the marker | its epoch is above the marker's: OFFICE_TAKEOVER from when we saw that |
| we are stopped for a while and wake up | the first script is refused: newer epoch, we stand down at once |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import structlog

from hegemon.cluster.shell import ElectionShell
from hegemon.cluster.witness import Witness
from hegemon.events.bus import Emit, unheard
from hegemon.events.cluster import OfficeActive, OfficeLost, OfficePaused, OfficeTaken, OfficeVacated
from hegemon.failpoints import failpoint
from hegemon.log_context import OFFICE
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import Fenced, IndexRefused, QueueError, StoreUnavailable, leaf
from hegemon.queue.leader_index import LeaderIndex
from hegemon.queue.office_store import Office, OfficeStore
from hegemon.queue.redis import Redis

log = structlog.get_logger(__name__)

# A leader that has not heard from a store for this long is not active.
PAUSE_S: Final = 0.5
SEEK_S: Final = 0.02
VACATE_S: Final = 1.0
Duties = Callable[[LeaderIndex], Awaitable[None]]
Rebuild = Callable[[Office], Awaitable[Office | None]]


class OfficeLostError(Exception):
    """A newer epoch was seen, or the office was lost in MongoDB."""


class OfficeKeeper:
    """Seeks the office while the elector says so, and runs the leader's duties while it is held and active."""

    def __init__(
        self,
        *,
        shell: ElectionShell,
        store: OfficeStore,
        redis: Redis,
        witness: Witness,
        clock: ClusterClock,
        node: str,
        incarnation: Callable[[], str],
        url: Callable[[], str],
        beat_s: float,
        takeover_s: float,
        duties: Duties,
        rebuild: Rebuild,
        by_majority: bool = False,
        emit: Emit = unheard,
    ) -> None:
        self._shell = shell
        self._store = store
        self._redis = redis
        self._witness = witness
        self._clock = clock
        self._node = node
        self._incarnation = incarnation
        self._url = url
        self._beat_s = beat_s
        self._takeover_s = takeover_s
        self._duties = duties
        self._rebuild = rebuild
        self._by_majority = by_majority
        self._emit = emit
        self.held: Office | None = None
        self.active = False
        self._win = 0
        self._last_beat_s = 0.0
        self._said = ""

    @property
    def is_active(self) -> bool:
        """Holds the newest epoch as far as known, and both stores answered just now."""
        age_s = max(time.monotonic() - self._last_beat_s, self._witness.truth_age_s)
        return self.active and age_s < max(3 * self._beat_s, PAUSE_S)

    async def run(self) -> None:
        """Seek, hold, lose, seek again, until cancelled."""
        while True:
            await self._shell.until(lambda: self._shell.wanted is not None)
            try:
                office = await self._seek()
                if office is not None:
                    await self._hold(office)
            except OfficeLostError as error:
                log.warning("office_lost", node=self._node, reason=str(error))
                self._emit(OfficeLost(str(error)))
                if not self._win_is_over():
                    await self._shell.office_lost(str(error))
                    await self._shell.until(self._win_is_over)
            except QueueError as error:
                self._say_once("office_waits", error)
                await asyncio.sleep(0.2)
            except Exception:  # a fault of ours must not leave the cluster without anybody who tries
                log.exception("office_failed", node=self._node)
                await asyncio.sleep(1.0)
            finally:
                self.held, self.active = None, False

    def _win_is_over(self) -> bool:
        """The election under which the office was sought is lost; a next one may be won already."""
        return self._shell.wanted is None or self._shell.wins != self._win

    async def resign(self) -> None:
        """Vacate the office if it is held; duties must have stopped. Never raises: its counter stands still anyway."""
        held, self.held, self.active = self.held, None, False
        if held is None:
            return
        try:
            async with asyncio.timeout(VACATE_S):
                await self._store.resign(held)
            log.info("office_vacated", node=self._node, epoch=held.epoch)
            self._emit(OfficeVacated(held.epoch))
        except (StoreUnavailable, TimeoutError):
            log.warning("resigned_unrecorded", node=self._node)

    async def _seek(self) -> Office | None:
        """Take the office once it may be taken; None when no longer elected."""
        seen_epoch, seen_since = -1, 0.0
        while (term := self._shell.wanted) is not None:
            self._win = self._shell.wins
            office = await self._store.read()
            now = time.monotonic()
            if office.epoch != seen_epoch:
                seen_epoch, seen_since = office.epoch, now
            # A holder that has not raised the marker yet does not move the counter that we see.
            waited = office.epoch == self._witness.epoch or now - seen_since >= self._takeover_s
            reason = "vacant" if office.vacant else "outvoted" if self._by_majority and term > office.term else ""
            if not reason and waited and self._witness.vacated(self._takeover_s):
                reason = "silent"
            if reason:
                taken = await self._store.take(
                    office,
                    node=self._node,
                    incarnation=self._incarnation(),
                    url=self._url(),
                    now_ms=self._clock.now_ms(),
                    term=term,
                )
                if taken is not None:
                    failpoint("office.after_epoch")
                    log.info("office_taken", node=self._node, epoch=taken.epoch, term=term, reason=reason)
                    self._emit(OfficeTaken(taken.epoch, term))
                    return taken
            await asyncio.sleep(SEEK_S)
        return None

    async def _hold(self, office: Office) -> None:
        """Work until the election is lost, then vacate; raises what ended the work otherwise."""
        self.held = office
        work = asyncio.create_task(self._work(office), name="office-work")
        lost = asyncio.create_task(self._shell.until(self._win_is_over), name="office-wanted")
        try:
            await asyncio.wait({work, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.active = False
            work.cancel()
            lost.cancel()
            await asyncio.gather(work, lost, return_exceptions=True)
        if not work.cancelled():
            await work
        log.info("leadership_given_up", node=self._node, epoch=office.epoch)
        await self.resign()

    async def _work(self, office: Office) -> NoReturn:
        while True:
            # In this task, and in those of the duties that it starts.
            OFFICE.set((office.epoch, office.term))
            index = LeaderIndex(self._redis, epoch=office.epoch, generation=office.generation)
            try:
                await self._confirm(index, office)
                self.active, self._said = True, ""
                log.info("leader_active", node=self._node, epoch=office.epoch, generation=office.generation)
                self._emit(OfficeActive(office.epoch, office.generation))
                await self._serve(index)
            except Fenced as error:
                self.active = False
                if error.reason == "newer":
                    raise OfficeLostError("a newer epoch was seen") from error
                office = self.held = await self._rebuilt(office)
            except IndexRefused:
                self.active = False
                office = self.held = await self._rebuilt(office)
            except StoreUnavailable as error:
                self.active = False
                if self._witness.office.epoch > office.epoch:
                    raise OfficeLostError("MongoDB shows a newer epoch") from error
                if not self._said:
                    self._emit(OfficePaused(office.epoch, error.store))
                self._say_once("leader_paused", error)
                await asyncio.sleep(self._beat_s)

    def _say_once(self, what: str, error: QueueError) -> None:
        if self._said != str(error):
            log.warning(what, node=self._node, reason=str(error))
        self._said = str(error)

    async def _confirm(self, index: LeaderIndex, office: Office) -> None:
        """The marker gets our epoch, if there is one that was built on this very server."""
        if office.generation == 0:
            raise Fenced("absent")
        # An idle connection may be to a server that has since been replaced: make, and check, a new one.
        await self._redis.drop_connections()
        await index.take_office(self._node)

    async def _rebuilt(self, office: Office) -> Office:
        rebuilt = await self._rebuild(office)
        if rebuilt is None:
            raise OfficeLostError("the office document is another's")
        return rebuilt

    async def _serve(self, index: LeaderIndex) -> None:
        """Beat and do the duties until one of them is refused."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(index), name="office-beat")
                group.create_task(_as_coroutine(self._duties(index)), name="duties")
        except BaseExceptionGroup as group_failed:
            if error := leaf(group_failed, Fenced, IndexRefused, StoreUnavailable):
                raise error from None
            raise

    async def _beat(self, index: LeaderIndex) -> None:
        """Move the counter. A store that stalls pauses us: the duties' own scripts wait for the same store."""
        while True:
            asked = time.monotonic()
            now_ms = await index.beat()
            self._last_beat_s = time.monotonic()
            self._witness.answered()
            self._clock.observe(now_ms, asked, self._last_beat_s)
            await asyncio.sleep(max(self._beat_s - (time.monotonic() - asked), 0.0))


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable
