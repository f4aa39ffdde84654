"""The worker process: `python -m hegemon.worker --control FD --board FD`. Started by the supervisor, dies with it.

The control socket carries one JSON document a line. To us: the options (first), then {"do": "stop", "within_s": …} and
{"do": "look"} (the index is being rebuilt).
From us: {"is": "type", "about": …} for each, {"is": "loaded", "types": […]}, {"is": "open"}, {"is": "stopped"},
{"is": "failed", "error": …}, {"is": "ends", "jobs": […], "dead": n, "retried": n} (failed tries, for events),
{"is": "logs", "lines": [[level, line], …], "left_out": n} (log lines, for the node's ring).
Its end means that the supervisor is gone: then this process ends at once, whatever user code is doing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import functools
import gc
import math
import os
import random
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hegemon.auth.masking import Masker
from hegemon.monitoring.logs import Shape, adopt, configure, flush
from hegemon.monitoring.long_lines import shortened
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import QueueError
from hegemon.queue.index import WorkerIndex
from hegemon.queue.queries import JobQueries
from hegemon.queue.redis import Redis
from hegemon.queue.store import JobStore
from hegemon.worker.board import Board
from hegemon.worker.execution import Executor
from hegemon.worker.measuring import Measured
from hegemon.worker.options import WorkerOptions
from hegemon.worker.pool import Closed, Pool
from hegemon.worker.registry import HandlerError, handlers, load
from hegemon.worker.schemas import told
from hegemon.worker.telling import LineFeed, Teller

if TYPE_CHECKING:
    from hegemon.tracing.ports import RunTracer
    from hegemon.tracing.spans import Tracing

EXIT_CLOSED: Final = 75
EXIT_HANDLERS: Final = 78
# How long a worker that ends in order sends the spans that are left.
TRACES_S: Final = 2.0
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """On Linux the kernel ends us with our parent, also while user code holds the GIL. Elsewhere the socket's end
    does.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Control:
    """Our end of the control socket. A thread reads it, so that it is heard while the event loop is blocked."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._file = self._socket.makefile("rb")
        self._lock = threading.Lock()
        self._unsent = b""

    def read_options(self) -> WorkerOptions:
        """The first line."""
        return msgspec.json.decode(self._file.readline(), type=WorkerOptions)

    def say(self, **what: Any) -> None:
        """One message to the supervisor."""
        with self._lock:
            # Blocking, unlike `tell`: what the supervisor must know. A line that was begun is ended first.
            self._socket.sendall(self._unsent + msgspec.json.encode(what) + b"\n")
            self._unsent = b""

    def tell(self, what: dict[str, Any]) -> bool:
        """One message that may be late, without ever waiting. False if the supervisor has not read the last one, or
        another thread is telling."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._send()
            if self._unsent:
                return False
            self._unsent = msgspec.json.encode(what) + b"\n"
            self._send()
            return True
        finally:
            self._lock.release()

    def _send(self) -> None:
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent, socket.MSG_DONTWAIT)
            except OSError:  # no room, or nobody there: the thread that reads sees to that
                return
            self._unsent = self._unsent[sent:]

    def listen(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Future[float], look: Callable[[], None]) -> None:
        """Start the reading thread."""

        def read() -> None:
            for line in self._file:
                message = msgspec.json.decode(line)
                if message.get("do") == "stop":
                    loop.call_soon_threadsafe(_resolve, stop, float(message["within_s"]))
                elif message.get("do") == "look":
                    loop.call_soon_threadsafe(look)
            os._exit(0)

        threading.Thread(target=read, name="control", daemon=True).start()


def _resolve(future: asyncio.Future[float], value: float) -> None:
    if not future.done():
        future.set_result(value)


async def _observe_clock(redis: Redis, clock: ClusterClock) -> None:
    """Keep the cluster clock: often at first, then now and again."""
    pause = 0.5
    while True:
        try:
            await clock.ask(redis)
            pause = min(pause * 2, 10.0)
        except QueueError:
            pause = 0.5
        await asyncio.sleep(pause)


async def _work(
    options: WorkerOptions, control: Control, board: Board, feed: LineFeed, tracer: RunTracer | None
) -> int:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[float] = loop.create_future()
    measured = Measured(board)
    client = mongo.connect(options.mongodb_uri, timeout=options.mongodb_timeout, meters=measured.meters)
    database = client[options.mongodb_database]
    redis = Redis(options.redis_url, options.cluster_id, timeout=options.redis_timeout, meters=measured.meters)
    clock = ClusterClock()
    with contextlib.suppress(QueueError):  # it is asked again
        await clock.ask(redis)
    clock_task = loop.create_task(_observe_clock(redis, clock), name="clock")
    known = dict(handlers())
    teller = Teller(control.tell, feed)
    pool = Pool(
        options,
        store=JobStore(client, database),
        queries=JobQueries(client, database),
        index=WorkerIndex(redis, options.worker),
        board=board,
        clock=clock,
        executor=functools.partial(
            Executor, board=board, clock=clock, handlers=known, options=options, rng=random.Random(), tracer=tracer
        ),
        information={
            "node": options.node,
            "node_incarnation": options.node_incarnation,
            "pid": os.getpid(),
            "slots": board.slots,
            "solo": options.solo,
            "types": sorted(known),
            "started_at": clock.now_ms(),
            "priority": options.priority,
        },
        measured=measured,
        teller=teller,
    )
    control.listen(loop, stop, pool.look)
    try:
        opening: asyncio.Future[Any] = loop.create_task(pool.open(), name="open")
        stopping: asyncio.Future[Any] = stop
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            return 0  # Stopped before it held anything.
        await opening
        control.say(**{"is": "open"})
        # What lives now lives for long: keep the collector away from it, and let it run less often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        running: asyncio.Future[Any] = loop.create_task(pool.run(), name="pool")
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.done() and not running.done():
            await pool.stop(stop.result())
        await running
    except Closed:
        return EXIT_CLOSED
    finally:
        teller.flush(math.inf)
        clock_task.cancel()
        await redis.close()
        client.close()
    control.say(**{"is": "stopped"})
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _tracing(options: WorkerOptions) -> Tracing | None:
    """The node has made one like it: what was wrong with it stopped the node."""
    if not options.tracing:
        return None
    from hegemon.tracing.spans import Tracing  # noqa: PLC0415 - it brings OpenTelemetry along

    return Tracing(instance=options.worker, shared=True, clean=Masker(options.secrets).text)


def main() -> None:
    """Entry point of `python -m hegemon.worker`."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="hegemon.worker", description="started by a Hegemon node; not by hand")
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--board", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    if os.getppid() != arguments.parent:
        os._exit(0)  # The parent died before die_with_parent() took hold.
    # Ctrl-C in a terminal reaches the whole process group; the node decides when its workers stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = Control(arguments.control)
    options = control.read_options()
    feed = LineFeed(control.tell, shortened)
    shape = Shape(
        level=options.log_level,
        form=options.log_format,
        secrets=options.secrets,
        fields={"node": options.node, "worker": options.worker},
        keep=feed.keep if options.log_kept else None,
        per_second=options.log_sampling,
    )
    # Before the handlers are loaded, which may want it otherwise.
    configure(shape, ours_alone=True)
    tracing = _tracing(options)
    board = Board(arguments.board, options.slots)
    # Last, so that a user's file named like a module of the standard library does not take its place.
    sys.path.append(os.getcwd())
    try:
        load(options.handlers)
    except HandlerError as error:
        control.say(**{"is": "failed", "error": str(error)})
        os._exit(EXIT_HANDLERS)
    if not options.solo:
        # One by one: a line of the socket has a bound.
        for about in told(handlers()):
            control.say(**{"is": "type", "about": about})
    adopt(shape)
    control.say(**{"is": "loaded", "types": sorted(handlers())})
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            code = runner.run(_work(options, control, board, feed, None if tracing is None else tracing.running))
    except BaseException:  # noqa: BLE001 - it ends here, and must not wait for the threads of handlers
        sys.stderr.write(Masker(options.secrets).text(traceback.format_exc()))
        code = 1
    if tracing is not None:
        # One that was closed makes room for its successor first.
        tracing.close(TRACES_S if code == 0 else 0.0)
    flush()
    feed.flush()
    # Threads of handlers that did not stop in time must not keep the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
