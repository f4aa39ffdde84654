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
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from hegemon.failpoints import failpoint
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import decode_body, parse_entry
from hegemon.queue.errors import IncarnationClosed, IndexRefused, QueueError, StoreUnavailable, leaf
from hegemon.queue.index import READY, WorkerIndex
from hegemon.queue.jobs import PRIORITY_MAX
from hegemon.queue.queries import JobQueries
from hegemon.queue.retry import RetryPolicy
from hegemon.queue.store import JobStore
from hegemon.worker.board import Board
from hegemon.worker.execution import Executor, Outcome, Taken
from hegemon.worker.options import WorkerOptions
from hegemon.worker.recording import BACKOFF_S, Recorder
from hegemon.worker.registry import Handler

TICK_S: Final = 0.05
# Beyond free slots a worker holds what it works off in this time (invariant I6).
AHEAD_S: Final = 0.05
MARK_AFTER_S: Final = 0.1
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
        handlers: dict[str, Handler],
        information: dict[str, object],
        counters: dict[str, int],
    ) -> None:
        self._options = options
        self._store = store
        self._queries = queries
        self._index = index
        self._board = board
        self._clock = clock
        self._information = information
        self.counters = counters
        self._executor = Executor(
            board=board,
            clock=clock,
            handlers=handlers,
            policy=RetryPolicy.from_dict(options.retry),
            grace_ms=options.grace_ms,
            result_bytes_max=options.result_bytes_max,
            max_retries=options.max_retries,
            timeout_ms=options.timeout_ms,
            ended=self._ended,
            rng=random.Random(),
        )
        self._known: dict[str, str] = {}
        self._recorder = Recorder(
            store=store,
            index=index,
            node=options.node,
            counters=counters,
            forget=self._forget,
        )
        self._local: list[deque[Taken]] = [deque() for _ in range(PRIORITY_MAX + 1)]
        self._local_count = 0
        self._recording: deque[Outcome] = deque()
        self._in_record: list[Outcome] = []
        self._acks: list[tuple[str, int]] = []
        self._cancelled_early: set[str] = set()
        self._inbox_maybe = True
        self._called = False
        self._told = 0
        self._slowed = False
        self._pump_now = asyncio.Event()
        self._record_now = asyncio.Event()
        self._pausing = False
        self._stopped = asyncio.Event()
        self._rate = 0.0
        self._done_since_tick = 0

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
            self._board.count(self.counters)
            self._executor.close()

    async def _last_words(self) -> None:
        """What has ended goes to MongoDB all the same: recorded if the claim still stands, else refused and counted."""
        for queue in self._local:
            queue.clear()
        self._local_count = 0
        ended = [*self._in_record, *self._recording]
        with contextlib.suppress(IncarnationClosed, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._recorder.record(ended)

    async def stop(self, within_s: float) -> None:
        """Stop taking, give back what has not started, let what runs finish within `within_s`, hand back the rest."""
        self._pausing = True
        waiting = [job.entry.id for queue in self._local for job in queue]
        for queue in self._local:
            queue.clear()
        self._local_count = 0
        try:
            await self._index.give_back(waiting, inbox=True)
        except QueueError:
            pass  # The leader recovers them when this incarnation is closed.
        for job_id in waiting:
            self._forget(job_id)
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

    def _ahead(self) -> int:
        return int(self._rate * AHEAD_S)

    def _window(self) -> int:
        if self._pausing:
            return 0
        if self._options.solo:
            return 1
        return self._board.slots + self._ahead() + len(self._recording) + len(self._in_record) + len(self._acks)

    def _want(self) -> int:
        if self._pausing or self._recorder.store_away or len(self._recording) + len(self._in_record) > RECORDING_MAX:
            return 0
        if self._options.solo:
            return 0 if self._known else 1
        return min(self._executor.free + self._ahead() - self._local_count, TAKE_MAX)

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
            self._forget(job_id)
        if acks:
            failpoint("finish.after_ack")
        if len(taken) >= want or (asked and not want):
            self._inbox_maybe = True
        if taken:
            failpoint("take.after_take")
            await self._accept(taken)
        for claim in cancelled:
            self._cancel(*claim)
        self._fill()

    async def _accept(self, taken: Sequence[tuple[str, bytes]]) -> None:
        jobs = []
        for text, data in taken:
            entry = parse_entry(text)
            if entry.id in self._known:
                continue  # It came back through `reconcile` while its first taking was still on its way.
            self._known[entry.id] = text
            jobs.append(Taken(entry, decode_body(data)[1]))
        stubs = [job.entry.id for job in jobs if job.body.payload is None]
        if stubs:
            jobs = await self._with_payloads(jobs, stubs)
        self.counters["taken"] += len(jobs)
        for job in jobs:
            self._local[job.entry.priority].append(job)
        self._local_count += len(jobs)

    async def _with_payloads(self, jobs: list[Taken], stubs: list[str]) -> list[Taken]:
        found = None
        while found is None:
            try:
                found = await self._queries.many(stubs, {"payload": 1})
            except StoreUnavailable:
                await asyncio.sleep(BACKOFF_S[-1])
        complete = []
        for job in jobs:
            if job.body.payload is None:
                document = found.get(job.entry.id)
                if document is None:
                    # Removed on request after it was dispatched: nothing to run, and the entry may go.
                    self._acks.append((job.entry.id, job.entry.attempt))
                    continue
                complete.append(Taken(job.entry, job.body.with_payload(bytes(document["payload"]["data"]))))
            else:
                complete.append(job)
        return complete

    # -- running -------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start what waits, highest priority first, while slots are free and the lease holds."""
        if self._options.solo or self._local_count == 0:
            if self._local_count:
                self._record_now.set()  # A suspect starts after its durable mark: see _record_loop.
            return
        for priority in range(PRIORITY_MAX, -1, -1):
            queue = self._local[priority]
            while queue:
                if self._executor.free == 0 or not self._start(queue[0]):
                    return
                queue.popleft()
                self._local_count -= 1

    def _start(self, job: Taken) -> bool:
        if job.entry.id in self._cancelled_early:
            self._cancelled_early.discard(job.entry.id)
            self._ended(Outcome(job))
            return True
        return self._executor.start(job)

    def _cancel(self, job_id: str, attempt: int) -> None:
        text = self._known.get(job_id)
        if text is None or parse_entry(text).attempt != attempt:
            return  # It went back, and may have been requeued since.
        if job_id in self._executor.running:
            self._executor.cancel(job_id)
        else:
            self._cancelled_early.add(job_id)

    def _forget(self, job_id: str) -> None:
        self._known.pop(job_id, None)
        # A cancellation that came while its end was being recorded must not meet the job when it is retried by hand.
        self._cancelled_early.discard(job_id)

    def _ended(self, outcome: Outcome) -> None:
        self._done_since_tick += 1
        self._recording.append(outcome)
        self._record_now.set()
        if self._local_count and not self._options.solo:
            # From a done-callback: let the other callbacks of this turn run before slots are filled again.
            asyncio.get_running_loop().call_soon(self._fill)

    # -- ends ----------------------------------------------------------------------------------------------------------

    async def _record_loop(self) -> None:
        while True:
            await self._record_now.wait()
            self._record_now.clear()
            if self._options.solo and self._local_count and not self._executor.running and not self._recording:
                await self._start_suspect()
            while self._recording:
                group = [self._recording.popleft() for _ in range(min(len(self._recording), FINISH_GROUP_MAX))]
                self._in_record = group
                self._acks += await self._recorder.record(group)
                self._in_record = []
                self._pump_now.set()

    async def _start_suspect(self) -> None:
        """One at a time, after a durable mark: if this process dies under it, the mark tells who did it."""
        job = next(queue[0] for queue in reversed(self._local) if queue)
        claim = (job.entry.id, job.entry.attempt, self._clock.now_ms())
        try:
            await self._store.mark_started([claim], worker=self._index.worker, node=self._options.node, now_ms=claim[2])
        except StoreUnavailable:
            await asyncio.sleep(BACKOFF_S[-1])
            self._record_now.set()
            return
        failpoint("run.after_start_mark")
        if self._start(job):
            self._local[job.entry.priority].popleft()
            self._local_count -= 1
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
            self._board.count(self.counters)
            self._executor.expire(now)
            self._measure(now - last)
            last = now
            await self._tell(now)
            if self._local_count:
                self._fill()
            if not self._options.solo:
                await self._keep_ahead_short()
            self._pump_now.set()

    def _measure(self, elapsed_s: float) -> None:
        done, self._done_since_tick = self._done_since_tick, 0
        if done or self._executor.running or self._local_count:
            self._rate = 0.6 * self._rate + 0.4 * done / elapsed_s
        else:
            self._rate *= 0.8

    async def _tell(self, now_s: float) -> None:
        """Show as running what runs longer than a moment, and pass on progress and log lines: one group each."""
        marks, notes = [], []
        now_ms = self._clock.now_ms()
        for run in self._executor.running.values():
            if not run.marked and now_s - run.started_s > MARK_AFTER_S:
                run.marked = True
                marks.append((run.job.entry.id, run.job.entry.attempt, run.started_ms))
            said = run.voice.drain(now_ms)
            if said is not None:
                notes.append((run.job.entry.id, run.job.entry.attempt, *said))
        try:
            if marks and not self._options.solo:
                await self._store.mark_started(marks, worker=self._index.worker, node=self._options.node, now_ms=now_ms)
            if notes:
                await self._store.note(notes)
        except StoreUnavailable:
            pass  # Only for people to look at; the end of the job is what counts.

    async def _keep_ahead_short(self) -> None:
        """When work has become slower than it was when the window was told: tell a new one, and only then give back
        what waits beyond it, or it would be sent here again.
        """
        ahead = self._ahead()
        if self._executor.free == 0 and self._told - self._board.slots > 2 * ahead:
            self._slowed = self._called = True
        elif self._slowed:
            self._slowed = False
            await self._shed(max(self._local_count - ahead, 0))

    async def _shed(self, surplus: int) -> None:
        """Give back what was taken in a faster time, lowest priority and newest first."""
        back: list[Taken] = []
        for queue in self._local:
            while queue and len(back) < surplus:
                back.append(queue.pop())
        self._local_count -= len(back)
        try:
            await self._index.give_back([job.entry.id for job in back], inbox=True)
        except QueueError:
            # Not known whether they went: forget them, `reconcile` brings back those that we still hold.
            pass
        for job in back:
            self._forget(job.entry.id)

    async def _reconcile_loop(self) -> None:
        suspects: set[str] = set()
        while True:
            await asyncio.sleep(RECONCILE_S)
            try:
                missing = await self._index.reconcile(sorted(suspects - self._known.keys()))
            except (IndexRefused, StoreUnavailable):
                suspects.clear()
                continue
            suspects = missing - self._known.keys()

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
                    await self._index.declare(self._information, self._window(), dict(self._known))
                except (StoreUnavailable, IndexRefused):
                    self._index.generation = before
            await asyncio.sleep(0.02)
