"""The worker's engine: takes from its inbox, keeps the executor's slots full, commits ends in groups, acknowledges.

    inbox ──take──> local (priority order) ──start──> running ──ended──> recording ──group to MongoDB──> acks ──take──┐
      ^─────────────────────────────── one round trip acknowledges and takes the next ──────────────────────────────┘

What it trusts and until when: its incarnation is open until a script says `closed`; the index's generation stands until
a script says `refused`; it may start jobs while its lease, counted from the sending of the last acknowledged beat,
runs.

| what happens | what it does |
|---|---|
| Redis away | runs on, records ends in MongoDB, acknowledges when Redis is back |
| MongoDB away | keeps ends and sends them again (compare-and-set makes that safe); takes nothing more meanwhile |
| `refused`: a rebuild | declares what it holds; its claims stand under the new generation |
| `closed`: taken for dead | the process ends; its supervisor starts another, under a new incarnation |
| a claim refused by MongoDB | counts it, drops the job: somebody else has it, or it was cancelled |
| the reply of `take` lost | ids missing twice, 2 s apart, go back into the inbox |
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from hegemon.failpoints import failpoint
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import decode_body, parse_entry
from hegemon.queue.errors import IncarnationClosed, IndexRefused, QueueError, StoreUnavailable, leaf
from hegemon.queue.index import READY, WorkerIndex
from hegemon.queue.queries import JobQueries
from hegemon.queue.store import JobStore
from hegemon.worker.board import Board
from hegemon.worker.execution import Executor, Outcome, Taken
from hegemon.worker.measuring import Measured
from hegemon.worker.options import WorkerOptions
from hegemon.worker.pace import Pace
from hegemon.worker.recording import BACKOFF_S, Recorder
from hegemon.worker.stubs import fetch_payloads
from hegemon.worker.telling import Teller
from hegemon.worker.waiting import Claims

TICK_S: Final = 0.05
TAKE_MAX: Final = 2000
FINISH_GROUP_MAX: Final = 1000
RECORDING_MAX: Final = 20_000
FALLBACK_S: Final = 1.0
LAST_WORDS_S: Final = 1.0
RECONCILE_S: Final = 2.0


class Closed(Exception):
    """This incarnation is over: closed by the leader, or left behind by a rebuild."""


class Pool:
    """One worker process, which is one incarnation. `run()` ends with `Closed`, or when stopped in order."""

    def __init__(
        self,
        options: WorkerOptions,
        *,
        store: JobStore,
        queries: JobQueries,
        index: WorkerIndex,
        board: Board,
        clock: ClusterClock,
        executor: Callable[..., Executor],
        information: dict[str, object],
        measured: Measured,
        teller: Teller,
    ) -> None:
        self._options = options
        self._store = store
        self._queries = queries
        self._index = index
        self._board = board
        self._clock = clock
        self._information = information
        self._measured = measured
        self._executor = executor(ended=self._ended, ran=measured.ran)
        self._claims = Claims()
        self._recorder = Recorder(
            store=store, index=index, node=options.node, measured=measured, forget=self._claims.forget, teller=teller
        )
        self._recording: deque[Outcome] = deque()
        self._in_record: list[Outcome] = []
        self._acks: list[tuple[str, int]] = []
        self._inbox_maybe = True
        self._called = False
        self._told, self._slowed = 0, False
        self._pump_now, self._record_now = asyncio.Event(), asyncio.Event()
        self._pausing = False
        self._stopped = asyncio.Event()
        self._pace = Pace()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open this incarnation once the index is ready; waits as long as it takes."""
        while True:
            try:
                self._index.generation, state = await self._index.state()
                if state == READY:
                    await self._index.open(self._information, self._window())
                    return
            except IncarnationClosed:
                raise Closed from None
            except QueueError:
                pass  # Not there yet, or away: asked again.
            await asyncio.sleep(0.05)

    async def run(self) -> None:
        """Work until `stop()` has drained everything; raises `Closed` when this incarnation is over."""
        loops = (self._pump_loop, self._wake_loop, self._record_loop, self._tick_loop, self._reconcile_loop)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(loop(), name=f"pool{loop.__name__}") for loop in loops]
                await self._stopped.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as group_failed:
            if leaf(group_failed, IncarnationClosed):
                await self._last_words()
                raise Closed from None
            raise
        finally:
            self._measured.publish()
            self._executor.close()

    async def _last_words(self) -> None:
        """What has ended goes to MongoDB all the same: recorded if the claim still stands, else refused and counted."""
        self._claims.shed(self._claims.waiting)
        ended = [*self._in_record, *self._recording]
        with contextlib.suppress(IncarnationClosed, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._recorder.record(ended)

    async def stop(self, within_s: float) -> None:
        """Stop taking, give back what has not started, let what runs finish within `within_s`, hand back the rest."""
        self._pausing = True
        waiting = self._claims.shed(self._claims.waiting)
        try:
            await self._index.give_back(waiting, inbox=True)
        except QueueError:
            pass  # The leader recovers them when this incarnation is closed.
        deadline = time.monotonic() + within_s
        while self._executor.running and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for job_id in list(self._executor.running):
            self._executor.cancel(job_id, "shutdown")
        last = time.monotonic() + 2.0
        while (self._executor.running or self._recording or self._in_record or self._acks) and time.monotonic() < last:
            await asyncio.sleep(0.02)
        try:
            await self._index.leave(self._clock.now_ms())
        except QueueError:
            pass  # The leader closes it when its beat has stood still for a lease.
        self._stopped.set()

    def look(self) -> None:
        """Something about the index has changed: ask at once instead of with the next take."""
        self._called = True
        self._pump_now.set()

    # -- taking --------------------------------------------------------------------------------------------------------

    def _window(self) -> int:
        if self._pausing:
            return 0
        if self._options.solo:
            return 1
        return self._board.slots + self._pace.ahead + len(self._recording) + len(self._in_record) + len(self._acks)

    def _want(self) -> int:
        if self._pausing or self._recorder.store_away or len(self._recording) + len(self._in_record) > RECORDING_MAX:
            return 0
        if self._options.solo:
            return 0 if self._claims else 1
        return min(self._executor.free + self._pace.ahead - self._claims.waiting, TAKE_MAX)

    async def _wake_loop(self) -> None:
        failures = 0
        while True:
            try:
                await self._index.wait(FALLBACK_S)
                failures = 0
            except QueueError:
                await asyncio.sleep(BACKOFF_S[min(failures, 4)])
                failures += 1
            # Also without a token: a wake-up may have been lost with a connection.
            self._inbox_maybe = self._called = True
            self._pump_now.set()

    async def _pump_loop(self) -> None:
        failures = 0
        while True:
            await self._pump_now.wait()
            self._pump_now.clear()
            try:
                while True:
                    want = max(self._want(), 0)
                    # With full slots too when called: cancellations of what runs come the same way.
                    if not (self._acks or self._called or (want and self._inbox_maybe)):
                        break
                    await self._take(want)
                failures = 0
            except IndexRefused:
                await self._rejoin()
                self._pump_now.set()
            except StoreUnavailable:
                await asyncio.sleep(BACKOFF_S[min(failures, 4)])
                failures += 1
                self._inbox_maybe = True
                self._pump_now.set()

    async def _take(self, want: int) -> None:
        acks = self._acks[:TAKE_MAX]
        # Before the call: a token that comes while it is under way must not be forgotten.
        asked, self._inbox_maybe, self._called = self._inbox_maybe, False, False
        window = self._window()
        try:
            cancelled, taken = await self._index.take(want, window, acks)
        except BaseException:
            self._inbox_maybe = self._called = True
            raise
        self._told = window
        del self._acks[: len(acks)]
        for job_id, _ in acks:
            self._claims.forget(job_id)
        if acks:
            failpoint("finish.after_ack")
        if len(taken) >= want or (asked and not want):
            self._inbox_maybe = True
        if taken:
            failpoint("take.after_take")
            await self._accept(taken)
        for job_id, attempt in cancelled:
            if self._claims.cancel(job_id, attempt):
                self._executor.cancel(job_id)
        self._fill()

    async def _accept(self, taken: Sequence[tuple[str, bytes]]) -> None:
        jobs = []
        for text, data in taken:
            entry = parse_entry(text)
            if not self._claims.claim(entry.id, text):
                continue  # It came back through `reconcile` while its first taking was still on its way.
            jobs.append(Taken(entry, decode_body(data)[1]))
        if any(job.body.payload is None for job in jobs):
            jobs, gone = await fetch_payloads(self._queries, jobs)
            # Removed on request after they were dispatched: nothing to run, and the entries may go.
            self._acks += gone
        self._measured.took(len(jobs))
        for job in jobs:
            self._claims.put(job)

    # -- running -------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start what waits, highest priority first, while slots are free and the lease holds."""
        if self._options.solo:
            if self._claims.waiting:
                self._record_now.set()  # A suspect starts after its durable mark: see _record_loop.
            return
        while self._executor.free and (job := self._claims.first()) and self._start(job):
            self._claims.started(job)

    def _start(self, job: Taken) -> bool:
        if self._claims.cancelled(job.entry.id):
            self._ended(Outcome(job))
            return True
        return self._executor.start(job)

    def _ended(self, outcome: Outcome) -> None:
        self._pace.ended()
        self._recording.append(outcome)
        self._record_now.set()
        if self._claims.waiting and not self._options.solo:
            # From a done-callback: let the other callbacks of this turn run before slots are filled again.
            asyncio.get_running_loop().call_soon(self._fill)

    # -- ends ----------------------------------------------------------------------------------------------------------

    async def _record_loop(self) -> None:
        while True:
            await self._record_now.wait()
            self._record_now.clear()
            if self._options.solo and self._claims.waiting and not self._executor.running and not self._recording:
                await self._start_suspect()
            while self._recording:
                group = [self._recording.popleft() for _ in range(min(len(self._recording), FINISH_GROUP_MAX))]
                self._in_record = group
                self._acks += await self._recorder.record(group)
                self._in_record = []
                self._pump_now.set()

    async def _start_suspect(self) -> None:
        """One at a time, after a durable mark: if this process dies under it, the mark tells who did it."""
        job = self._claims.first()
        if job is None:
            return
        claim = (job.entry.id, job.entry.attempt, self._clock.now_ms())
        try:
            await self._store.mark_started([claim], worker=self._index.worker, node=self._options.node, now_ms=claim[2])
        except StoreUnavailable:
            await asyncio.sleep(BACKOFF_S[-1])
            self._record_now.set()
            return
        failpoint("run.after_start_mark")
        if self._start(job):
            self._claims.started(job)
        else:
            await asyncio.sleep(TICK_S)
            self._record_now.set()

    # -- upkeep --------------------------------------------------------------------------------------------------------

    async def _tick_loop(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self._board.turn(now)
            self._measured.publish()
            self._executor.expire(now)
            self._pace.measure(now - last, busy=bool(self._executor.running or self._claims.waiting))
            last = now
            await self._recorder.show(self._executor.running.values(), now, self._clock.now_ms())
            if self._claims.waiting:
                self._fill()
            if not self._options.solo:
                await self._keep_ahead_short()
            self._pump_now.set()

    async def _keep_ahead_short(self) -> None:
        """When work has become slower than it was when the window was told: tell a new one, and only then give back
        what waits beyond it, or it would be sent here again.
        """
        ahead = self._pace.ahead
        if self._executor.free == 0 and self._told - self._board.slots > 2 * ahead:
            self._slowed = self._called = True
        elif self._slowed:
            self._slowed = False
            await self._shed(max(self._claims.waiting - ahead, 0))

    async def _shed(self, surplus: int) -> None:
        """Give back what was taken in a faster time, lowest priority and newest first."""
        back = self._claims.shed(surplus)
        try:
            await self._index.give_back(back, inbox=True)
        except QueueError:
            pass  # Not known whether they went: `reconcile` brings back those that we still hold.

    async def _reconcile_loop(self) -> None:
        lost: set[str] = set()
        # What a `take` brings whose reply is still awaited must not be missing twice.
        pause_s = max(RECONCILE_S, self._options.redis_timeout.total_seconds())
        while True:
            await asyncio.sleep(pause_s)
            try:
                missing = await self._index.reconcile(sorted(job_id for job_id in lost if job_id not in self._claims))
            except (IndexRefused, StoreUnavailable):
                lost.clear()
                continue
            lost = {job_id for job_id in missing if job_id not in self._claims}

    async def _rejoin(self) -> None:
        """The generation changed. During a rebuild: declare what is held, so that the claims stand."""
        while True:
            try:
                generation, state = await self._index.state()
            except (StoreUnavailable, IndexRefused):
                await asyncio.sleep(0.1)
                continue
            if state == READY:
                if generation == self._index.generation:
                    return
                raise IncarnationClosed  # The rebuild went by without us: our claims are void.
            if state == "declaring" and generation > self._index.generation:
                before = self._index.generation
                try:
                    self._index.generation = generation
                    await self._index.declare(self._information, self._window(), self._claims.entries())
                except (StoreUnavailable, IndexRefused):
                    self._index.generation = before
            await asyncio.sleep(0.02)
