"""The audit log as a node writes it: records wait in a bounded buffer and go to the store in groups, each once.

| the store      | what may not be missed (`write`)                  | all else (`note`)                            |
|----------------|---------------------------------------------------|----------------------------------------------|
| answers        | returns once the entry is durable                 | returns at once                              |
| is away        | refused before anything is done (`admit(strict)`) | kept, until the buffer is full; then refused |
| goes meanwhile | `OutcomeUnknown`: it was done; the record is kept | kept                                         |

A record is lost only with its process: what was noted in its last moments, while the store was away.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec
import structlog

from hegemon.auth.audit_chain import CHECKPOINT, Entry, Head, Keys, Record, beginning, chain
from hegemon.auth.audit_sampling import RefusalSampler
from hegemon.auth.audit_store import AuditStore
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import OutcomeUnknown, StoreUnavailable

log = structlog.get_logger(__name__)

BUFFER_MAX: Final = 2000
GROUP_MAX: Final = 200
WRITE_S: Final = 3.0
RETRY_S: Final = 0.25
RETENTION_EVERY_S: Final = 600.0
# Not even twice: what could be thrown away one at a time is no use, and each checkpoint is an entry itself.
CHECKPOINT_LEAST: Final = 100
TEXT_MAX: Final = 200
SYSTEM: Final = "system"


class AuditLog:
    """One node's writer. `run` must run; `drain` at the end. `leads` says whether retention is this node's duty; `told`
    gets each record that is kept."""

    def __init__(
        self,
        store: AuditStore,
        *,
        node: str,
        clock: ClusterClock,
        keys: Keys | None = None,
        retention: timedelta | None = None,
        leads: Callable[[], bool] = lambda: True,
        told: Callable[[Record], None] = lambda record: None,
        buffer_max: int = BUFFER_MAX,
    ) -> None:
        self.store = store
        self.keys = keys or Keys()
        self._node = node
        self._clock = clock
        self._retention = retention
        self._leads = leads
        self._told = told
        self._buffer_max = buffer_max
        self._waiting: deque[tuple[Record, asyncio.Future[None] | None]] = deque()
        self._wake = asyncio.Event()
        self._failing = False
        self._head: Head | None = None
        self._seen_seq = 0
        self._doubts: dict[str, tuple[tuple[Record, ...], list[Entry]]] = {}
        self._sampler = RefusalSampler()

    @property
    def waiting(self) -> int:
        """Records that are not in the store yet."""
        return len(self._waiting)

    def admit(self, *, strict: bool = False) -> None:
        """Ask before doing what must be recorded: `StoreUnavailable` if its record could not be kept."""
        if len(self._waiting) >= self._buffer_max or (strict and self._failing):
            raise StoreUnavailable("MongoDB", "the audit log cannot be written; nothing was changed")

    def record(
        self,
        *,
        principal: str,
        action: str,
        outcome: str,
        address: str = "",
        target: str = "",
        status: int = 0,
        request_id: str = "",
        details: Mapping[str, str | int | bool] | None = None,
    ) -> Record:
        """A record of now and of this node; long texts are cut."""
        return Record(
            at_ms=self._clock.now_ms(),
            node=self._node,
            principal=_short(principal),
            action=action,
            outcome=outcome,
            address=_short(address),
            target=_short(target),
            status=status,
            request_id=_short(request_id),
            details={_short(k): _short(v) if isinstance(v, str) else v for k, v in (details or {}).items()},
        )

    def note(self, record: Record) -> None:
        """Keep a record and return; it is written soon. Whoever does something asks `admit` before, and not here, where
        it is done."""
        self._put(record, None)

    async def write(self, record: Record, *, within_s: float = WRITE_S) -> None:
        """Keep a record whatever the buffer holds, and wait until it is durable; `OutcomeUnknown` when that takes
        longer."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(record, written)
        try:
            async with asyncio.timeout(within_s):
                await written
        except TimeoutError:
            raise OutcomeUnknown("MongoDB", "it was done, but the audit log could not be written in time") from None

    def refused(self, record: Record) -> None:
        """Note a refusal (401, 403, a failed login): one of a kind in a while, and never the last half of the buffer,
        which is for what was done."""
        left_out = self._sampler.admit(record.address, record.outcome, time.monotonic())
        if left_out is None or len(self._waiting) >= self._buffer_max // 2:
            return
        details = {**record.details, **({"left_out": left_out} if left_out else {})}
        self._put(msgspec.structs.replace(record, details=details), None)

    async def run(self) -> None:
        """Write what is kept, group after group, and remove what is too old."""
        swept_s = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(RETENTION_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            while self._waiting:
                await self._flush()
                if self._failing:
                    await asyncio.sleep(RETRY_S)
            if self._retention is not None and time.monotonic() - swept_s >= RETENTION_EVERY_S and self._leads():
                swept_s = time.monotonic()
                try:
                    await self.retain(self._retention)
                except StoreUnavailable as error:
                    log.warning("audit_retention_failed", reason=str(error))

    async def drain(self, within_s: float) -> None:
        """Write what is kept, as far as that goes within `within_s`; `run` has ended."""
        deadline = time.monotonic() + within_s
        while self._waiting and time.monotonic() < deadline:
            await self._flush()
            if self._failing:
                await asyncio.sleep(RETRY_S)
        if self._waiting:
            log.error("audit_records_lost", count=len(self._waiting))

    async def retain(self, retention: timedelta) -> int:
        """Remove entries older than `retention`, behind a checkpoint that says so; how many."""
        last = await self.store.last_before(self._clock.now_ms() - int(retention.total_seconds() * 1000))
        known = await self.store.checkpoint()
        before = int(known.details.get("through", 0)) if known is not None else 0
        if last is None or last.seq - before < CHECKPOINT_LEAST:
            # What an earlier sweep announced and did not get to.
            return await self.store.remove_through(before) if before else 0
        details: dict[str, str | int | bool] = {"through": last.seq, "hash": last.hash}
        # First the announcement, then the removal: a crash in between leaves entries that may go, and no gap.
        await self.append([self.record(principal=SYSTEM, action=CHECKPOINT, outcome="ok", details=details)])
        return await self.store.remove_through(last.seq)

    async def append(self, records: Sequence[Record]) -> None:
        """Write records behind whatever the head is. After `StoreUnavailable` the same records may be given again: what
        did arrive is not made twice."""
        while True:
            records = records[await self._arrived(records) :]
            if not records:
                return
            seen = self._head or await self._read_head()
            entries, head = chain(records, seen or beginning(self.keys), self.keys)
            # Until the store has answered, these may be in it. Where the head stands still, the same records make the
            # same first hash, however many follow: the longest attempt stands for all.
            known = self._doubts.get(entries[0].hash)
            if known is None or len(known[0]) < len(records):
                self._doubts[entries[0].hash] = (tuple(records), entries)
            self._head = None
            if await self.store.append(entries, seen=seen, head=head):
                self._doubts.clear()
                self._head, self._seen_seq = head, head.seq
                return

    async def _arrived(self, records: Sequence[Record]) -> int:
        """How many of the first records are in the store already, by an attempt whose answer was lost.

        An attempt that is still under way is no danger: it and the next one move the same head, and one of them fails.
        """
        for given, entries in list(self._doubts.values()):
            found = await self.store.walk(entries[0].seq, len(entries))
            same = sum(1 for one, other in zip(found, entries, strict=False) if one.hash == other.hash)
            if same:
                self._doubts.clear()
                return same if given[0] is records[0] else 0
            if found:
                # Somebody else's entry has that number: this attempt failed for good.
                self._doubts.pop(entries[0].hash, None)
        return 0

    async def _read_head(self) -> Head | None:
        found = await self.store.head()
        seq = 0 if found is None else found.seq
        if seq < self._seen_seq:
            log.error("audit_log_cut_off", head=seq, was=self._seen_seq)
            details: dict[str, str | int | bool] = {"head": seq, "was": self._seen_seq}
            self._seen_seq = 0
            self._put(self.record(principal=SYSTEM, action="audit.cut_off", outcome="failed", details=details), None)
        return found

    def _put(self, record: Record, written: asyncio.Future[None] | None) -> None:
        self._waiting.append((record, written))
        self._wake.set()
        self._told(record)

    async def _flush(self) -> None:
        group = [self._waiting[i] for i in range(min(GROUP_MAX, len(self._waiting)))]
        try:
            await self.append([record for record, _ in group])
        except StoreUnavailable as error:
            if not self._failing:
                log.warning("audit_log_unwritable", reason=str(error), waiting=len(self._waiting))
            self._failing = True
            return
        self._failing = False
        for _, written in group:
            self._waiting.popleft()
            if written is not None and not written.done():
                written.set_result(None)


def _short(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
