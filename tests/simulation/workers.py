"""Worker processes of simulated nodes: the product's own supervisor and pool, a task in place of a child."""

from __future__ import annotations

import asyncio
import functools
import random
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from hegemon.cluster.supervisor import EXIT_CLOSED, Supervisor, Worker
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.index import WorkerIndex
from hegemon.queue.queries import JobQueries
from hegemon.queue.redis import Redis
from hegemon.queue.store import JobStore
from hegemon.worker.board import Board
from hegemon.worker.context import Context
from hegemon.worker.execution import Executor
from hegemon.worker.measuring import Measured
from hegemon.worker.options import WorkerOptions
from hegemon.worker.pool import Closed, Pool
from hegemon.worker.process import _observe_clock
from hegemon.worker.registry import Handler
from hegemon.worker.telling import Teller
from tests.simulation.loop import CURRENT, Process

KILLED = -9


class Started(Protocol):
    """What is told of a handler's first line: job, attempt, worker, for how long its lease still holds."""

    def __call__(self, job_id: str, attempt: int, worker: str, left_s: float) -> None: ...


class Child:
    """A worker process: what the supervisor sees of one, and its work."""

    def __init__(self, process: Process, worker: Worker, opened: Callable[[], None]) -> None:
        self.process = process
        self.worker = worker
        self.pid = 1
        self.returncode: int | None = None
        self.pool: Pool | None = None
        self.task: asyncio.Task[int] | None = None
        self._opened = opened
        self._stop: asyncio.Future[float] | None = None

    def kill(self) -> None:
        """SIGKILL: from this moment it does nothing that anybody could see."""
        self.process.alive = False
        if self.task is not None:
            self.task.cancel()

    def send_signal(self, _: int) -> None:
        """As the supervisor does it."""
        self.kill()

    def tell(self, what: dict[str, Any]) -> None:
        """What comes over the control socket."""
        if what.get("do") == "stop" and self._stop is not None and not self._stop.done():
            self._stop.set_result(float(what["within_s"]))
        elif what.get("do") == "look" and self.pool is not None:
            self.pool.look()

    async def work(self, options: dict[str, Any], handlers: Callable[[Worker], dict[str, Handler]]) -> int:
        """What `hegemon.worker.process` does, without sockets; its exit code."""
        self._stop = stop = asyncio.get_running_loop().create_future()
        told = WorkerOptions(**options)
        client = mongo.connect(told.mongodb_uri, timeout=told.mongodb_timeout)
        database = client[told.mongodb_database]
        redis = Redis(told.redis_url, told.cluster_id, timeout=told.redis_timeout)
        clock = ClusterClock()
        known = handlers(self.worker)
        information = {
            "node": told.node,
            "node_incarnation": told.node_incarnation,
            "pid": self.pid,
            "slots": told.slots,
            "solo": told.solo,
            "types": sorted(known),
            "started_at": clock.now_ms(),
            "priority": told.priority,
        }
        # A mapping of its own, as another process has one: the supervisor lets go of its own when it likes.
        board = Board(self.worker.board.fd, self.worker.slots)
        self.pool = pool = Pool(
            told,
            store=JobStore(client, database),
            queries=JobQueries(client, database),
            index=WorkerIndex(redis, told.worker),
            board=board,
            clock=clock,
            executor=functools.partial(
                Executor, board=board, clock=clock, handlers=known, options=told, rng=random.Random()
            ),
            information=information,
            measured=Measured(board),
            teller=Teller(lambda said: True),
        )
        clock_task = asyncio.create_task(_observe_clock(redis, clock))
        try:
            opening = asyncio.create_task(pool.open())
            await asyncio.wait({opening, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                opening.cancel()
                return 0
            await opening
            self.worker.open.set()
            self._opened()
            running = asyncio.create_task(pool.run())
            try:
                await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
                if stop.done() and not running.done():
                    await pool.stop(stop.result())
                await running
            finally:
                running.cancel()
        except Closed:
            return EXIT_CLOSED
        finally:
            clock_task.cancel()
            await redis.close()
        return 0


class SimulatedSupervisor(Supervisor):
    """The product's supervisor; only the birth of a process is another. `spawn` gives a child a process of its own."""

    spawn: Callable[[Process, str], Process]
    started: Started
    run_as: Callable[[Process, Coroutine[Any, Any, int], str], asyncio.Task[int]]

    async def _live(self, worker: Worker) -> None:
        parent = CURRENT.get()
        assert parent is not None
        process = type(self).spawn(parent, worker.id)
        child = Child(process, worker, self._opened)
        worker.process = child  # type: ignore[assignment]  # what the supervisor uses of a process, it has
        self.workers[worker.id] = worker
        worker.types = self.types = ["noop"]
        worker.loaded.set()
        self.ready.set()
        options = self._options | {"worker": worker.id, "slots": worker.slots, "solo": worker.solo}
        task = type(self).run_as(process, child.work(options, self._handlers), worker.id)
        child.task = task
        try:
            await asyncio.wait({task})
            code = KILLED if task.cancelled() or not process.alive else task.result()
            child.returncode = code
            await process.end()
            await self._bury(worker, code)
        finally:
            await process.end()
            self.workers.pop(worker.id, None)
            for name, value in worker.board.counters().items():
                self.totals[name] += value
            worker.board.close()

    def _tell(self, worker: Worker, what: dict[str, Any]) -> None:
        child: Any = worker.process
        if child is not None:
            child.tell(what)

    def _handlers(self, worker: Worker) -> dict[str, Handler]:
        started = type(self).started

        async def noop(context: Context, **_: Any) -> int:
            process = CURRENT.get()
            assert process is not None
            if process.alive:
                started(context.job_id, context.attempt, worker.id, _lease_s(worker.board) - time.monotonic())
            draw = process.rng.random()
            await asyncio.sleep(draw * 0.05 if draw < 0.9 else draw)
            return 1

        handler = Handler(
            type="noop",
            function=noop,
            is_async=True,
            context="context",
            arguments=lambda _: {},
            max_retries=None,
            timeout_ms=None,
            retry=None,
        )
        return {"noop": handler}


def _lease_s(board: Board) -> float:
    """As the board has it, whatever the worker may see: the judge's own look."""
    until_s: float = struct.unpack_from("<d", board._map, 0)[0]
    return until_s
