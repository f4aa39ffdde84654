"""Holding the office: election is for liveness, the office is for safety.

    candidate ──elected──> won ──compare-and-set in MongoDB──> in office ──marker raised, index whole──> active
        ^                   │ holder's counter moves: wait            │ marker absent or older: rebuild      │
        └───────────────────┴───────── lost the election, a newer epoch seen, resigned ───────────────────────┘

| what is trusted | until when |
|---|---|
| that nobody holds the office | its document says vacant, or the counter stood still for OFFICE_TAKEOVER (our clock) |
| that we hold it | a script answers `newer`; every leader's script asks |
| that the index is whole | a script answers `absent` or `older`, or a new connection finds another server |

| failure | effect |
|---|---|
| the reply to the compare-and-set is lost | the nonce is read back; ours means that we hold the office |
| Redis away | duties pause, each loop tries again; the counter stands still, so another may succeed us |
| MongoDB away | duties that need it pause |
| we are stopped for a while and wake up | the first script is refused: newer epoch, we stand down at once |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hegemon.cluster.shell import ElectionShell
from hegemon.failpoints import failpoint
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import Fenced, IndexRefused, QueueError, StoreUnavailable, leaf
from hegemon.queue.leader_index import LeaderIndex
from hegemon.queue.office_store import Office, OfficeStore
from hegemon.queue.redis import Redis

log = structlog.get_logger(__name__)

# A counter that is missing is unknown, not still: its holder gets this long to build a new index.
UNKNOWN_PATIENCE_S: Final = 3.0
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
        watch: Redis,
        clock: ClusterClock,
        node: str,
        incarnation: str,
        url: Callable[[], str],
        beat_s: float,
        takeover_s: float,
        duties: Duties,
        rebuild: Rebuild,
    ) -> None:
        self._shell = shell
        self._store = store
        self._redis = redis
        self._watch = watch
        self._clock = clock
        self._node = node
        self._incarnation = incarnation
        self._url = url
        self._beat_s = beat_s
        self._takeover_s = takeover_s
        self._duties = duties
        self._rebuild = rebuild
        self.held: Office | None = None
        self.active = False
        self._last_beat_s = 0.0
        self._said = ""

    @property
    def is_active(self) -> bool:
        """Holds the newest epoch as far as known, and its counter moved just now."""
        return self.active and time.monotonic() - self._last_beat_s < max(3 * self._beat_s, 0.5)

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
                if self._shell.wanted is not None:
                    await self._shell.office_lost(str(error))
                    await self._shell.until(lambda: self._shell.wanted is None)
            except QueueError as error:
                if self._said != str(error):
                    log.warning("office_waits", node=self._node, reason=str(error))
                self._said = str(error)
                await asyncio.sleep(0.2)
            except Exception:  # a fault of ours must not leave the cluster without anybody who tries
                log.exception("office_failed", node=self._node)
                await asyncio.sleep(1.0)
            finally:
                self.held, self.active = None, False

    async def resign(self) -> None:
        """Hand over in order: duties have stopped, the document says vacant."""
        held, self.held, self.active = self.held, None, False
        if held is not None:
            try:
                await self._store.resign(held)
            except StoreUnavailable:
                log.warning("resigned_unrecorded", node=self._node)

    async def _seek(self) -> Office | None:
        """Take the office once it is vacant or its holder's counter stands still; None when no longer elected."""
        watched: tuple[int, bytes | None] | None = None
        still_since = time.monotonic()
        while self._shell.wanted is not None:
            office = await self._store.read()
            counter = await self._counter()
            now = time.monotonic()
            if watched != (office.epoch, counter):
                watched, still_since = (office.epoch, counter), now
            patience = self._takeover_s if counter is not None else UNKNOWN_PATIENCE_S
            if office.vacant or now - still_since >= patience:
                taken = await self._store.take(
                    office,
                    node=self._node,
                    incarnation=self._incarnation,
                    url=self._url(),
                    now_ms=self._clock.now_ms(),
                    term=self._shell.wanted,
                )
                if taken is not None:
                    failpoint("office.after_epoch")
                    log.info("office_taken", node=self._node, epoch=taken.epoch)
                    return taken
            await asyncio.sleep(self._beat_s / 2)
        return None

    async def _counter(self) -> bytes | None:
        # Over connections that do not confirm the server: whoever seeks the office may be the one who must rebuild.
        value: bytes | None = await self._watch.command("HGET", f"{self._watch.prefix}office", "beat")
        return value

    async def _hold(self, office: Office) -> None:
        self.held = office
        while self._shell.wanted is not None:
            index = LeaderIndex(self._redis, epoch=office.epoch, generation=office.generation)
            try:
                await self._confirm(index, office)
                self.active, self._said = True, ""
                log.info("leader_active", node=self._node, epoch=office.epoch, generation=office.generation)
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
                if self._said != str(error):
                    log.warning("leader_paused", node=self._node, reason=str(error))
                self._said = str(error)
                await asyncio.sleep(self._beat_s)

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
        """Beat and do the duties until one of them is refused or the election is lost."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat(index), name="office-beat")
                duties = group.create_task(_as_coroutine(self._duties(index)), name="duties")
                await self._shell.until(lambda: self._shell.wanted is None)
                duties.cancel()
                raise OfficeLostError("the election was lost")
        except BaseExceptionGroup as group_failed:
            if error := leaf(group_failed, OfficeLostError, Fenced, IndexRefused, StoreUnavailable):
                raise error from None
            raise

    async def _beat(self, index: LeaderIndex) -> None:
        """Move the counter. A store that stalls pauses us: the duties' own scripts wait for the same store."""
        while True:
            asked = time.monotonic()
            now_ms = await index.beat()
            self._last_beat_s = time.monotonic()
            self._clock.observe(now_ms, asked, self._last_beat_s)
            await asyncio.sleep(max(self._beat_s - (time.monotonic() - asked), 0.0))


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable
