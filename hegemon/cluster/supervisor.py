"""Supervision of worker processes: starts them, holds their leases, sees them die at once, kills what is stuck.

    starting ──loaded, open──> working ──stop──> draining ──> ended
        │ handlers cannot be loaded: the node does not start   │
        └──── dies ────> reported with what its board showed ──┴──> started again, with growing pauses if it keeps dying

A process is one incarnation. A closed one ends by itself and another takes its place. Processes that run suspects alone
are started when the index holds suspects, and stopped when they have been idle for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from hegemon.cluster.job_facts import JobFacts
from hegemon.cluster.recovery import DeathReport
from hegemon.events.bus import Emit, unheard
from hegemon.events.cluster import WorkerHeldBack, WorkerLost, WorkerStarted, WorkerStuck, WorkerUnloadable
from hegemon.measures import LAG, Key, Meters, Totals
from hegemon.queue.errors import IndexRefused, QueueError
from hegemon.queue.ids import incarnation
from hegemon.queue.index import MemberIndex
from hegemon.queue.job_types import JobType
from hegemon.worker.board import COUNTERS, Board, Running

log = structlog.get_logger(__name__)

WATCH_S: Final = 0.05
SOLO_IDLE_S: Final = 10.0
RESPAWN_S: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
LAST_WORDS_S: Final = 1.0
# A worker that was stopped with its node gets this long to turn again before its loop counts as stuck.
LOOP_GRACE_S: Final = 5.0
# A pause of the watch itself that is longer shows that this process stood still, and its workers perhaps with it.
PAUSE_S: Final = 1.0
WORKING_S: Final = 0.5
STEADY_S: Final = 10.0
START_TIMEOUT_S: Final = 60.0
EXIT_CLOSED: Final = 75
# What a worker is told; `worker` and `solo` and `slots` are filled in for each process.
Options = dict[str, Any]


class WorkerStartError(Exception):
    """A worker process cannot start: its handlers cannot be loaded."""


class Worker:
    """One worker process as its supervisor sees it."""

    def __init__(self, name: str, slots: int, *, solo: bool) -> None:
        self.id = name
        self.slots = slots
        self.solo = solo
        self.board = Board.create(slots)
        self.process: asyncio.subprocess.Process | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.types: list[str] = []
        self.described: list[JobType] = []
        self.loaded = asyncio.Event()
        self.open = asyncio.Event()
        self.error: str | None = None
        self.culprit: str | None = None
        self.overdue: set[Running] = set()
        self.draining = False
        self.started_s = time.monotonic()
        self.idle_since_s = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id; 0 before it has one."""
        return self.process.pid if self.process else 0


class Supervisor:
    """The worker processes of one node. `run()` keeps them alive; `stop()` drains them."""

    def __init__(
        self,
        *,
        node: str,
        options: Options,
        slots: int,
        processes: int,
        suspect_processes: int,
        lease_s: float,
        index: MemberIndex,
        opened: Callable[[], None],
        emit: Emit = unheard,
        described: Callable[[list[JobType]], None] = lambda types: None,
        meters: Meters | None = None,
        keep: Callable[[str, str], None] = lambda level, line: None,
    ) -> None:
        self._node = node
        self._options = options
        self._shares = [slots // processes + (1 if i < slots % processes else 0) for i in range(processes)]
        self._suspect_processes = suspect_processes
        self._lease_s = lease_s
        self._index = index
        self._opened = opened
        self._emit = emit
        self._described = described
        self._keep_line = keep
        self._facts = JobFacts(emit, time.monotonic())
        # This process's own, and what its workers have counted that are gone.
        self._meters = meters or Meters()
        self._series = Totals()
        self._stopping = False
        self._suspects = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self.workers: dict[str, Worker] = {}
        self.totals = dict.fromkeys(COUNTERS, 0)
        self.deaths = 0
        self._taken = 0
        self._worked_s = 0.0
        self._looked_s = 0.0
        self._looking_since_s = 0.0
        self.types: list[str] = []
        self.ready = asyncio.Event()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start the processes and keep them alive until `stop()`."""
        async with asyncio.TaskGroup() as group:
            for i, share in enumerate(self._shares):
                group.create_task(self._keep(f"{self._node}.w{i}", share, solo=False), name=f"worker-{i}")
            for i in range(self._suspect_processes):
                group.create_task(self._keep(f"{self._node}.s{i}", 1, solo=True), name=f"suspect-worker-{i}")
            group.create_task(self._watch(), name="worker-watch")

    async def stop(self, within_s: float) -> None:
        """Drain every process within the time and a little more; kill what is left."""
        self._stopping = True
        self._suspects.set()
        for worker in list(self.workers.values()):
            self._tell(worker, {"do": "stop", "within_s": within_s})
        deadline = time.monotonic() + within_s + 3.0
        while self.workers and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for worker in list(self.workers.values()):
            self._kill(worker)
        while self.workers:
            await asyncio.sleep(0.02)
        self._facts.count(self.counters()["completed"], time.monotonic(), last=True)

    def renew(self, open_workers: dict[str, bool], sent_s: float) -> None:
        """A beat was acknowledged: leases run from its sending, for those whose incarnation is open."""
        for name, is_open in open_workers.items():
            worker = self.workers.get(name)
            if worker is not None:
                worker.board.set_lease(sent_s + self._lease_s if is_open else 0.0)

    def suspects_waiting(self, count: int) -> None:
        """How many suspects the index holds: start processes for them."""
        if count:
            self._suspects.set()
        elif not self._stopping:
            self._suspects.clear()

    def stopping(self) -> bool:
        """Whether `stop()` was called; asked anew after each wait."""
        return self._stopping

    @property
    def working(self) -> bool:
        """Whether jobs were taken just now."""
        return time.monotonic() - self._worked_s < WORKING_S

    def counters(self) -> dict[str, int]:
        """Totals over all processes, dead ones too."""
        sums = dict(self.totals)
        for worker in self.workers.values():
            for name, value in worker.board.counters().items():
                sums[name] += value
        return sums

    def series(self) -> dict[Key, list[int]]:
        """What this process and its workers measured, dead ones too: never less than before."""
        return self._series.sums(self._meters.read(), *(worker.board.series.read() for worker in self.workers.values()))

    # -- one process ---------------------------------------------------------------------------------------------------

    async def _keep(self, name: str, slots: int, *, solo: bool) -> None:
        failures = 0
        while not self._stopping:
            if solo:
                await self._suspects.wait()
                if self.stopping():
                    return
            started = time.monotonic()
            await self._live(Worker(incarnation(name), slots, solo=solo))
            failures = 0 if time.monotonic() - started > STEADY_S else min(failures + 1, len(RESPAWN_S) - 1)
            if not self._stopping:
                if not solo and RESPAWN_S[failures] >= 0.5:
                    self._emit(WorkerHeldBack(name, failures, RESPAWN_S[failures]))
                await asyncio.sleep(RESPAWN_S[failures] if not solo else 0.0)

    async def _live(self, worker: Worker) -> None:
        """From spawn to burial of one process."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                worker.process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-m",
                    "hegemon.worker",
                    f"--control={theirs.fileno()}",
                    f"--board={worker.board.fd}",
                    f"--parent={os.getpid()}",
                    pass_fds=(theirs.fileno(), worker.board.fd),
                    stdin=asyncio.subprocess.DEVNULL,
                )
            self.workers[worker.id] = worker
            reader, worker.writer = await asyncio.open_connection(sock=ours)
            own = {"worker": worker.id, "slots": worker.slots, "solo": worker.solo}
            self._tell(worker, self._options | own)
            listening = asyncio.get_running_loop().create_task(self._listen(worker, reader), name="worker-listen")
            code = await worker.process.wait()
            # A child that the handler left behind may hold the socket open: its last words are not waited for.
            await asyncio.wait({listening}, timeout=LAST_WORDS_S)
            listening.cancel()
            await self._bury(worker, code)
        finally:
            if worker.process is not None and worker.process.returncode is None:
                self._kill(worker)
            self.workers.pop(worker.id, None)
            if worker.writer is not None:
                worker.writer.close()
            for name, value in worker.board.counters().items():
                self.totals[name] += value
            self._series.keep(worker.board.series.read())
            worker.board.close()

    async def _listen(self, worker: Worker, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                message = msgspec.json.decode(line)
                match message["is"]:
                    case "type":
                        worker.described.append(msgspec.convert(message["about"], JobType))
                    case "loaded":
                        worker.types = self.types = message["types"]
                        if not worker.solo:
                            self._described(worker.described)
                        worker.loaded.set()
                        self.ready.set()
                    case "open":
                        worker.open.set()
                        self._opened()
                        self._emit(WorkerStarted(worker.id, worker.pid, worker.slots, worker.solo))
                    case "ends":
                        self._facts.heard(message)
                    case "logs":
                        self._logged(worker, message)
                    case "failed":
                        worker.error = message["error"]

    def _logged(self, worker: Worker, message: dict[str, Any]) -> None:
        """Lines that a worker has written to stderr; they are kept beside ours."""
        for level, line in message["lines"]:
            self._keep_line(level, msgspec.json.encode(line).decode())
        if message["left_out"]:
            log.warning("worker_lines_left_out", worker=worker.id, count=message["left_out"])

    async def _bury(self, worker: Worker, code: int) -> None:
        if worker.error is not None:
            if not self.ready.is_set():
                raise WorkerStartError(worker.error)
            log.error("worker_cannot_start", worker=worker.id, reason=worker.error)
            self._emit(WorkerUnloadable(worker.id))
            return
        told = worker.draining or self._stopping
        # Code 0 alone is no orderly end: a handler may have called `os._exit(0)`.
        if code == EXIT_CLOSED or (code == 0 and told):
            return
        self.deaths += 1
        running = worker.board.running()
        why = _why(code, worker.culprit)
        report = DeathReport(
            running=[item.job_id for item in running if item.begun], culprit=worker.culprit, solo=worker.solo, why=why
        )
        log.error("worker_died", worker=worker.id, pid=worker.pid, reason=why, running=report.running[:20])
        self._emit(WorkerLost(worker.id, worker.pid, why, len(report.running), worker.culprit))
        await self._report(worker, report)

    async def _report(self, worker: Worker, report: DeathReport) -> None:
        """Until the index has it. A rebuild voids all claims of a process that cannot declare them: nothing to
        report.
        """
        generation = self._index.generation
        while not self._stopping or worker.solo:
            try:
                await self._index.report_dead(worker.id, msgspec.to_builtins(report))
                return
            except IndexRefused:
                if self._index.generation != generation or self._stopping:
                    return
            except QueueError:
                if self._stopping:
                    return
            await asyncio.sleep(0.1)

    # -- watching ------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        lag = self._meters.at(LAG)
        while not (self._stopping and not self.workers):
            before = time.monotonic()
            await asyncio.sleep(WATCH_S)
            now = time.monotonic()
            lag.observe(max(now - before - WATCH_S, 0.0))
            self.look(now)

    def look(self, now: float) -> None:
        """One look at all boards."""
        if now - self._looked_s > PAUSE_S:
            self._looking_since_s = now
        self._looked_s = now
        totals = self.counters()
        if totals["taken"] != self._taken:
            self._taken, self._worked_s = totals["taken"], now
        self._facts.count(totals["completed"], now)
        for worker in list(self.workers.values()):
            running = worker.board.running()
            self._kill_stuck(worker, running, now)
            if running or self._suspects.is_set():
                worker.idle_since_s = now
            if worker.solo and not worker.draining and now - worker.idle_since_s > SOLO_IDLE_S:
                worker.draining = True
                self._tell(worker, {"do": "stop", "within_s": 0.0})

    def _kill_stuck(self, worker: Worker, running: list[Running], now: float) -> None:
        """A job beyond its hard deadline, seen so twice; or a loop that stands though no job holds it.

        While the loop stands, others are overdue only because nobody could cancel them: the one that was entered last
        is taken to hold it. A job that was not entered holds nothing.
        """
        overdue = {item for item in running if item.begun and now > item.deadline_s}
        stuck = overdue & worker.overdue
        worker.overdue = overdue
        if stuck and worker.culprit is None:
            item = max(stuck, key=lambda item: item.started_s)
            log.error("handler_stuck", worker=worker.id, job=item.job_id, attempt=item.attempt)
            worker.culprit = item.job_id
            self._emit(WorkerStuck(worker.id, item.job_id))
            self._kill(worker)
        turned = worker.board.loop_beat_s()
        patience_s = 2 * self._lease_s + LOOP_GRACE_S
        still = turned and now - turned > patience_s
        # Right after a pause of our own its loop has had no time to turn, and its end, if it ended, was not told yet.
        if worker.open.is_set() and not running and still and now - self._looking_since_s > LOOP_GRACE_S:
            log.error("worker_stuck", worker=worker.id, seconds=round(now - turned, 1))
            self._emit(WorkerStuck(worker.id, None))
            self._kill(worker)

    def call(self) -> None:
        """Have every worker look at the index now: it is being rebuilt."""
        for worker in self.workers.values():
            self._tell(worker, {"do": "look"})

    def _tell(self, worker: Worker, what: dict[str, Any]) -> None:
        if worker.writer is not None and not worker.writer.is_closing():
            worker.writer.write(msgspec.json.encode(what) + b"\n")

    @staticmethod
    def _kill(worker: Worker) -> None:
        with contextlib.suppress(ProcessLookupError):
            if worker.process is not None:
                worker.process.send_signal(signal.SIGKILL)


def _why(code: int, culprit: str | None) -> str:
    if culprit is not None:
        return f"killed: job {culprit} was stuck beyond its hard timeout"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
    return f"exited with code {code}"
