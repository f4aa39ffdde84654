"""An event loop in virtual time: nothing waits, time jumps to the next timer, and one seed decides every free order.

Callbacks belong to a `Process`, by their context. Those of one process run first in, first out, as on a real loop;
which process runs next is the seed's choice, since on real machines it is nobody's. A process can be stopped
(SIGSTOP: its callbacks wait and time goes on) and killed (what it still tries is cut off at its links).
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# A loop that makes no progress in virtual time is a fault, not a reason to hang.
STANDING_MAX = 200_000


class Stuck(Exception):
    """The simulation cannot go on: nothing will ever happen again, or all happens without time going by."""


class Process:
    """One life of one simulated process. `offset_s` and `wall_offset_s` are where its clocks stand against virtual
    time; randomness of its own keeps one process's draws from moving another's."""

    def __init__(self, name: str, seed: int, *, offset_s: float = 0.0) -> None:
        self.name = name
        self.rng = random.Random(f"{seed}/{name}")
        self.offset_s = offset_s
        self.wall_offset_s = 0.0
        self.alive = True
        self.paused = False
        self.queue: deque[asyncio.Handle] = deque()
        self.listed = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._kept = 64

    def owns(self, task: asyncio.Task[Any]) -> None:
        """A task of this process's own."""
        self._tasks.append(task)
        if len(self._tasks) > self._kept:
            self._tasks = [one for one in self._tasks if not one.done()]
            self._kept = max(64, 2 * len(self._tasks))

    async def end(self) -> None:
        """The process is gone: none of its tasks goes on. Another process awaits this."""
        self.alive = False
        for _ in range(10):
            left = [task for task in self._tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.001)


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def acting_as(process: Process | None, ask: Callable[[], T]) -> T:
    """What ``ask`` answers by that process's own clocks."""
    before = CURRENT.set(process)
    try:
        return ask()
    finally:
        CURRENT.reset(before)


class SimulatedFuture(asyncio.Future[Any]):
    """Sets of futures are walked in the order of their hashes: addresses would make that another order in each run."""

    def __init__(self, number: int, **options: Any) -> None:
        super().__init__(**options)
        self._number = number

    def __hash__(self) -> int:
        return self._number


class SimulatedTask(asyncio.Task[Any]):
    """The same for tasks, which a task group keeps in a set."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """`now` is virtual time in seconds. `faults` collects what the loop's exception handler was told."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now = 1000.0
        self.steps = 0
        self.faults: list[dict[str, Any]] = []
        self.after_step: Callable[[Process], None] | None = None
        self.world = Process("world", seed)
        self._seed = seed
        self._rng = random.Random(f"{seed}/order")
        self._numbers = itertools.count(1)
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._runnable: list[Process] = []
        self._standing = 0
        self.set_exception_handler(lambda _, fault: self.faults.append(fault))

    # -- what asyncio asks for -----------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Queue a callback of the process that its context names."""
        handle = asyncio.Handle(callback, args, self, context)
        self._put(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """The same: there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Queue a callback for a later time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """The same after a delay."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """A future with a place of its own in sets."""
        return SimulatedFuture(next(self._numbers), loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:
        """A task with a place of its own in sets."""
        number = next(self._numbers)
        task = SimulatedTask(number, coro, loop=self, name=str(name or f"task-{number}"), context=context)
        process = CURRENT.get() if context is None else context.get(CURRENT)
        if process is not None:
            process.owns(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        """No threads here: what would run in one runs now."""
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    # -- turning -------------------------------------------------------------------------------------------------------

    def _put(self, handle: asyncio.Handle) -> None:
        # The handle's own context, which asyncio keeps without showing it.
        process = handle._context.get(CURRENT) or self.world  # type: ignore[attr-defined]
        process.queue.append(handle)
        if not process.listed and not process.paused:
            process.listed = True
            self._runnable.append(process)

    def _run_once(self) -> None:
        timers = self._timers
        if not self._runnable:
            self._jump()
        while timers and timers[0][0] <= self.now:
            handle = heapq.heappop(timers)[2]
            if not handle.cancelled():
                self._put(handle)
        runnable = self._runnable
        if not runnable:
            return
        place = self._rng.randrange(len(runnable)) if len(runnable) > 1 else 0
        process = runnable[place]
        queue = process.queue
        # A few in a row: as a process that has got the processor.
        for _ in range(min(len(queue), 8)):
            handle_now = queue.popleft()
            if not handle_now.cancelled():
                handle_now._run()
            if process.paused:
                break
        self.steps += 1
        self._standing += 1
        if self._standing > STANDING_MAX:
            raise Stuck(f"{STANDING_MAX} steps without time going by, the last of {process.name}")
        if not queue or process.paused:
            process.listed = False
            runnable.remove(process)
        if self.after_step is not None:
            self.after_step(process)

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise Stuck("nothing is left that could ever happen")
        if timers[0][0] > self.now:
            self.now = timers[0][0]
            self._standing = 0

    # -- processes -----------------------------------------------------------------------------------------------------

    def spawn(self, process: Process, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `work` as that process: all that it starts belongs to it."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, process)
        return self.create_task(work, name=name, context=context)

    def pause(self, process: Process) -> None:
        """Stop a process where it stands."""
        process.paused = True

    def resume(self, process: Process) -> None:
        """Let it go on with what has piled up."""
        process.paused = False
        if process.queue and not process.listed:
            process.listed = True
            self._runnable.append(process)
