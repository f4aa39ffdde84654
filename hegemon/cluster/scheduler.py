"""The leader's quick duty: promote what is due and dispatch what is ready, woken by tokens and by the next due time.

One round: promote if something is due; survey loads and heads; return parked jobs whose reason has ended; decide in
Python by the balancing strategy; move exactly the decided entries with a fenced script. An entry that no worker can
take now is parked under its type (or as a suspect), so that it blocks nobody behind it; it comes back to its place as
soon as a worker of its type has room.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import structlog

from hegemon.cluster.balancing import Balancer, WorkerView, prefer
from hegemon.failpoints import failpoint
from hegemon.measures import DISPATCHED, GROUP, ROUND, Meters
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import Entry
from hegemon.queue.errors import Fenced, IndexRefused, StoreUnavailable
from hegemon.queue.leader_index import LeaderIndex, Survey
from hegemon.queue.redis import Redis
from hegemon.queue.store import JobStore

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 1000
IDLE_S: Final = 0.25
PAUSED_S: Final = 0.02
SUSPECT_REASON: Final = "@suspect:"
TYPE_REASON: Final = "type:"
# While work is under way wake-ups come faster than rounds are worth: let a few gather.
GATHER_S: Final = 0.001
_DUE_MARKS_MAX: Final = 50_000

Run = tuple[str, list[tuple[str, str]]]


class Scheduler:
    """Runs under one office: `run` ends by a refusal, which the office acts on."""

    def __init__(
        self,
        *,
        index: LeaderIndex,
        redis: Redis,
        store: JobStore,
        balancer: Balancer,
        clock: ClusterClock,
        deaths: asyncio.Event,
        woken: asyncio.Event,
        may: Callable[[], bool] = lambda: True,
        gone: Callable[[], AbstractSet[str]] = frozenset,
        doubted: Callable[[], AbstractSet[str]] = frozenset,
        meters: Meters | None = None,
    ) -> None:
        self._meters = meters or Meters()
        self._index = index
        self._redis = redis
        self._store = store
        self._balancer = balancer
        self._clock = clock
        self._deaths = deaths
        # Set by our own wake-ups, and at once by this node's submitter when it has indexed something.
        self._woken = woken
        # False while the office is paused: a store has not answered of late.
        self._may = may
        # Nodes that the election holds to be dead: their leases have yet to run out, but nothing is sent there.
        self._gone = gone
        # Nodes that the election does not hear: they get only what nobody else can take.
        self._doubted = doubted
        self._information: dict[str, dict[str, Any]] = {}
        self._turn = 0
        # Promotions in a row that found nothing due yet.
        self._early = 0
        self._want = BATCH_MAX
        self._due_marks: deque[tuple[str, int]] = deque(maxlen=_DUE_MARKS_MAX)

    async def run(self) -> None:
        """Schedule until refused."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="scheduler-wake")
            group.create_task(self._show_due(), name="scheduler-due-marks")
            group.create_task(self._loop(), name="scheduler")

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable, IndexRefused):
                if await self._redis.wait("wake", 1.0):
                    self._woken.set()
                continue
            await asyncio.sleep(0.1)

    async def _loop(self) -> None:
        due_ms: int | None = 0
        failures = 0
        while True:
            if not self._may():
                await asyncio.sleep(PAUSED_S)
                continue
            try:
                busy, due_ms = await self.round(due_ms)
                failures = 0
            except (Fenced, IndexRefused):
                raise
            except StoreUnavailable:
                failures += 1
                await asyncio.sleep(min(0.02 * 2**failures, 0.5))
                continue
            except Exception:  # what one round stumbles over must not end scheduling
                log.exception("scheduling_failed")
                await asyncio.sleep(1.0)
                continue
            if busy:
                await asyncio.sleep(GATHER_S)
                continue
            wait = IDLE_S
            if due_ms is not None:
                # Redis decides what is due, by a clock that may be behind what we carry of it, and for long if it was
                # set back: ask again soon, then less and less often.
                early_s = min(0.0005 * 2**self._early, PAUSED_S)
                wait = min(wait, max((due_ms - self._clock.now_ms()) / 1000, 0.0) + early_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def round(self, due_ms: int | None) -> tuple[bool, int | None]:
        """One round; (whether another should follow at once, when the next delayed job is due)."""
        self._woken.clear()
        began = time.monotonic()
        if due_ms is not None and due_ms <= self._clock.now_ms():
            await self._promote()
        survey = await self._index.survey(self._want)
        if survey.deaths:
            self._deaths.set()
        views = await self._views(survey)
        self._want = min(max(sum(view.room for view in views), 16), BATCH_MAX)
        if await self._unpark(survey, views):
            return True, survey.due_ms
        runs = list(self._decide(survey, views))
        overdue = survey.due_ms is not None and survey.due_ms <= survey.now_ms
        if not runs:
            return overdue, survey.due_ms
        moved, parked = await self._index.dispatch(runs)
        failpoint("dispatch.after_move")
        if moved:
            self._meters.at(ROUND).observe(time.monotonic() - began)
            self._meters.at(GROUP, "dispatch").observe(moved)
            self._meters.at(DISPATCHED).add(moved)
        return moved + parked > 0 or overdue, survey.due_ms

    async def _promote(self) -> None:
        while True:
            _, _, moved = await self._index.promote(BATCH_MAX)
            self._early = 0 if moved else min(self._early + 1, 10)
            if moved:
                failpoint("promote.after_move")
            self._due_marks.extend((entry.id, entry.attempt) for entry in moved)
            if len(moved) < BATCH_MAX:
                return

    async def _views(self, survey: Survey) -> list[WorkerView]:
        if not survey.loads.keys() <= self._information.keys() or len(self._information) > 2 * len(survey.loads) + 10:
            self._information = await self._index.workers()
        gone = self._gone()
        views = []
        for worker, load in survey.loads.items():
            information = self._information.get(worker)
            if information is None or information["node"] in gone:
                continue
            views.append(
                WorkerView(
                    id=worker,
                    node=information["node"],
                    slots=information["slots"],
                    held=load.held,
                    room=max(load.window - load.held, 0),
                    priority=information.get("priority", 0),
                    types=frozenset(information["types"]),
                    solo=information["solo"],
                )
            )
        return prefer(views, self._doubted())

    async def _unpark(self, survey: Survey, views: Sequence[WorkerView]) -> bool:
        returned = 0
        for reason in survey.parked:
            solo = reason.startswith(SUSPECT_REASON)
            type_ = reason.removeprefix(SUSPECT_REASON if solo else TYPE_REASON)
            room = sum(view.room for view in views if view.solo is solo and type_ in view.types)
            if room:
                returned += (await self._index.unpark(reason, min(room, BATCH_MAX)))[0]
        return returned > 0

    def _decide(self, survey: Survey, views: Sequence[WorkerView]) -> Iterator[Run]:
        """Runs of decided entries: prefixes of ready lists. Queues take turns; within one, priority order holds."""
        self._turn += 1
        turn = self._turn % len(survey.queues) if survey.queues else 0
        queues = survey.queues[turn:] + survey.queues[:turn]
        if len(queues) == 1:
            jobs = queues[0]
        else:
            jobs = [job for rank in itertools.zip_longest(*queues) for job in rank if job is not None]
        given = self._balancer.allocate(views, jobs)
        targets = {job.id: worker for job, worker in zip(jobs, given, strict=True)}
        room_left = sum(view.room for view in views if not view.solo) > sum(
            1 for job, worker in zip(jobs, given, strict=True) if worker is not None and not job.suspect
        )
        for queue in queues:
            run: Run | None = None
            for job in queue:
                target = targets[job.id] or self._parking(job, views, room_left=room_left)
                if target is None:
                    break
                place = f"{job.queue}:{job.priority}"
                if run is None or run[0] != place:
                    if run is not None:
                        yield run
                    run = (place, [])
                run[1].append((job.text, target))
            if run is not None:
                yield run

    @staticmethod
    def _parking(job: Entry, views: Sequence[WorkerView], *, room_left: bool) -> str | None:
        """Where a job goes that nobody can take now; None: it keeps its place, since room is short for all alike."""
        if job.suspect:
            return f"!{SUSPECT_REASON}{job.type}"
        if room_left or not any(job.type in view.types for view in views if not view.solo):
            return f"!{TYPE_REASON}{job.type}"
        return None

    async def _show_due(self) -> None:
        """Promoted jobs read as pending. Best effort: the index has moved them already."""
        while True:
            await asyncio.sleep(0.05)
            if not self._due_marks:
                continue
            few = [self._due_marks.popleft() for _ in range(min(len(self._due_marks), BATCH_MAX))]
            try:
                await self._store.mark_due(few, self._clock.now_ms())
            except StoreUnavailable:
                pass
            except Exception:  # only a mark for readers
                log.exception("due_marks_failed")
