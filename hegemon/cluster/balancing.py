"""Decides which worker gets which job: the four balancing strategies, without I/O, so that their shares can be proved.

The scheduler peeks at what is ready, asks ``allocate(workers, jobs)`` and carries the answer out in a fenced script.

What holds for every strategy:

- a job goes only to a worker that handles its type, and no worker gets more than its ``room``;
- a suspect (a job that a dead worker left unfinished) goes only to a ``solo`` worker, any other job only to the rest;
- jobs are served in the order given. A job gets ``None`` only when no worker can take it now, hence no later job of
  the same type and suspect flag gets one either: room only shrinks during a call.

Jobs are not shuffled around to fit more of them in: an earlier job may take the last room that a later job of a rarer
type would have needed. Priority order matters more than packing, and the next call is milliseconds away.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heapreplace
from types import MappingProxyType
from typing import Final, Protocol


class Placeable(Protocol):
    """What a strategy needs to know of a job. Sequences of them come in priority order, FIFO within a priority."""

    @property
    def type(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def suspect(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One live worker process as the leader knows it at the moment of dispatch.

    ``id`` is its incarnation and unique; ``held`` counts the jobs that it holds now; ``room`` is how many more it may
    be given now (zero or less: none); ``priority`` is its node's NODE_PRIORITY, higher first; ``types`` are the job
    types it handles; ``solo`` marks a process that runs suspects, one at a time. Fewer than one slot counts as one.
    """

    id: str
    node: str
    slots: int
    held: int
    room: int
    priority: int
    types: frozenset[str]
    solo: bool = False


class Balancer(Protocol):
    """A strategy with the state that it carries from call to call. Not for use from several threads at once."""

    def allocate(self, workers: Sequence[WorkerView], jobs: Sequence[Placeable]) -> list[str | None]:
        """One entry a job, in the order of ``jobs``: the id of the worker that gets it, or None if nobody can now."""
        ...


def prefer(workers: Sequence[WorkerView], doubted: AbstractSet[str]) -> list[WorkerView]:
    """The workers, those of ``doubted`` nodes only with the types that no other worker of their kind has room for: what
    goes to a node that has just died waits until that is certain, but a node that is only cut off is not wasted."""
    if not doubted:
        return list(workers)
    sure = [worker for worker in workers if worker.node not in doubted]
    served = {
        solo: frozenset(name for worker in sure if worker.solo is solo and worker.room > 0 for name in worker.types)
        for solo in (False, True)
    }
    rest = (worker for worker in workers if worker.node in doubted)
    return sure + [replace(worker, types=worker.types - served[worker.solo]) for worker in rest]


# Takes one job: the index of the worker that gets it, its room already taken; or NOBODY.
_Pick = Callable[[], int]
NOBODY: Final = -1


class _Round:
    """One call's changing picture: the workers in ring order (by id) and what each may still be given."""

    __slots__ = ("held", "ids", "room", "workers")

    def __init__(self, workers: Sequence[WorkerView]) -> None:
        self.workers = sorted(workers, key=lambda worker: worker.id)
        self.ids = [worker.id for worker in self.workers]
        self.room = [worker.room for worker in self.workers]
        self.held = [worker.held for worker in self.workers]

    def eligible(self, type_: str, suspect: bool) -> tuple[int, ...]:
        return tuple(
            index
            for index, worker in enumerate(self.workers)
            if worker.solo == suspect and self.room[index] > 0 and type_ in worker.types
        )

    def place(self, jobs: Sequence[Placeable], pool: Callable[[tuple[int, ...], bool], _Pick]) -> list[str | None]:
        """Serve the jobs in order. ``pool(members, suspect)`` is called once for each distinct set of workers, not
        for each type: with the usual set-up, where every worker handles every type, all jobs share one pool."""
        by_kind: dict[tuple[str, bool], _Pick] = {}
        by_members: dict[tuple[int, ...], _Pick] = {}
        ids = self.ids
        placed: list[str | None] = []
        for job in jobs:
            kind = (job.type, job.suspect)
            pick = by_kind.get(kind)
            if pick is None:
                members = self.eligible(*kind)
                pick = by_members.get(members)
                if pick is None:
                    pick = by_members[members] = pool(members, job.suspect)
                by_kind[kind] = pick
            index = pick()
            placed.append(None if index < 0 else ids[index])
        return placed


class _Turn:
    """Who was served last, kept by id because indices change as workers come and go between calls."""

    __slots__ = ("after", "last_id", "served")

    def __init__(self) -> None:
        self.last_id = ""
        self.after = self.served = NOBODY

    def enter(self, ids: list[str]) -> None:
        """Point ``after`` at the last served worker or, if it left, at the one before its place in the ring."""
        self.after = bisect_right(ids, self.last_id) - 1
        self.served = NOBODY

    def leave(self, ids: list[str]) -> None:
        # Only a worker that was served moves the turn: one that is away for a call in which nothing could be placed
        # does not get a second turn when it is back.
        if self.served != NOBODY:
            self.last_id = ids[self.served]


class _Ring:
    """Two turns: solo workers and the others never compete, so one must not move the other's position."""

    __slots__ = ("_ordinary", "_solo")

    def __init__(self) -> None:
        self._ordinary, self._solo = _Turn(), _Turn()

    def turn(self, suspect: bool) -> _Turn:
        return self._solo if suspect else self._ordinary

    def place(
        self, round_: _Round, jobs: Sequence[Placeable], pool: Callable[[tuple[int, ...], bool], _Pick]
    ) -> list[str | None]:
        for turn in (self._ordinary, self._solo):
            turn.enter(round_.ids)
        placed = round_.place(jobs, pool)
        for turn in (self._ordinary, self._solo):
            turn.leave(round_.ids)
        return placed


class RoundRobin:
    """The next worker in ring order (by id) that can take the job; the position survives between calls.

    There is one position for all types. Where workers handle different types, a worker that follows one with a rare
    type may be served more often than its share: least_loaded is the better choice there.
    """

    def __init__(self) -> None:
        self._ring = _Ring()

    def allocate(self, workers: Sequence[WorkerView], jobs: Sequence[Placeable]) -> list[str | None]:
        round_ = _Round(workers)
        room = round_.room

        def pool(members: tuple[int, ...], suspect: bool) -> _Pick:
            open_ = list(members)
            turn = self._ring.turn(suspect)

            def pick() -> int:
                while open_:
                    at = bisect_right(open_, turn.after)
                    if at == len(open_):
                        at = 0
                    index = open_[at]
                    if room[index] > 0:
                        room[index] -= 1
                        turn.after = turn.served = index
                        return index
                    del open_[at]
                return NOBODY

            return pick

        return self._ring.place(round_, jobs, pool)


class LeastLoaded:
    """The worker with the smallest (held + given) / slots. Equals are taken in ring order, each call starting after
    the worker served last: otherwise, with short jobs that come one at a time, the first id would get them all."""

    def __init__(self) -> None:
        self._ring = _Ring()

    def allocate(self, workers: Sequence[WorkerView], jobs: Sequence[Placeable]) -> list[str | None]:
        round_ = _Round(workers)
        room, held = round_.room, round_.held
        slots = [max(worker.slots, 1) for worker in round_.workers]

        def pool(members: tuple[int, ...], suspect: bool) -> _Pick:
            turn = self._ring.turn(suspect)
            # A quotient of small integers is correctly rounded, so equal loads compare as equal: 1/3 == 2/6.
            heap = [(held[i] / slots[i], (i - turn.after - 1) % len(held), i) for i in members]
            heapify(heap)

            def pick() -> int:
                while heap:
                    load, rank, index = heap[0]
                    if room[index] <= 0:
                        heappop(heap)
                        continue
                    # Another pool may have given to this worker meanwhile. Loads only rise, so a top that is still
                    # true is the smallest of all, and one that is not goes back under its present load.
                    now = held[index] / slots[index]
                    if load != now:
                        heapreplace(heap, (now, rank, index))
                        continue
                    room[index] -= 1
                    held[index] += 1
                    heapreplace(heap, (held[index] / slots[index], rank, index))
                    turn.served = index
                    return index
                return NOBODY

            return pick

        return self._ring.place(round_, jobs, pool)


class Random:
    """Uniform among the workers that can take the job, from the generator given."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def allocate(self, workers: Sequence[WorkerView], jobs: Sequence[Placeable]) -> list[str | None]:
        round_ = _Round(workers)
        room = round_.room
        draw = self._rng.random

        def pool(members: tuple[int, ...], suspect: bool) -> _Pick:
            open_ = list(members)

            def pick() -> int:
                # Drawing again after a full worker leaves the rest equally likely. int(draw() * n) is three times
                # as fast as randrange(n); its bias is below n / 2**53.
                while open_:
                    at = int(draw() * len(open_))
                    index = open_[at]
                    if room[index] > 0:
                        room[index] -= 1
                        return index
                    open_[at] = open_[-1]
                    open_.pop()
                return NOBODY

            return pick

        return round_.place(jobs, pool)


class Priority:
    """The highest NODE_PRIORITY first; a worker is filled to its room before the next one gets any. Ties by id."""

    def allocate(self, workers: Sequence[WorkerView], jobs: Sequence[Placeable]) -> list[str | None]:
        round_ = _Round(workers)
        room = round_.room
        priority = [worker.priority for worker in round_.workers]

        def pool(members: tuple[int, ...], suspect: bool) -> _Pick:
            # The best one last, where pop is cheap.
            open_ = sorted(members, key=lambda index: (priority[index], -index))

            def pick() -> int:
                while open_:
                    index = open_[-1]
                    if room[index] > 0:
                        room[index] -= 1
                        return index
                    open_.pop()
                return NOBODY

            return pick

        return round_.place(jobs, pool)


@dataclass(frozen=True, slots=True)
class Strategy:
    """One value of LOAD_BALANCER_STRATEGY: a line for people, and how to make its balancer."""

    description: str
    make: Callable[[random.Random], Balancer]


STRATEGIES: Final[Mapping[str, Strategy]] = MappingProxyType(
    {
        "round_robin": Strategy("Each worker in turn; equal shares whatever the jobs cost.", lambda rng: RoundRobin()),
        "least_loaded": Strategy(
            "The worker with the fewest jobs for its slots; evens out slow jobs and unequal nodes.",
            lambda rng: LeastLoaded(),
        ),
        "random": Strategy("Any worker with room, each equally likely.", Random),
        "priority": Strategy(
            "The node with the highest NODE_PRIORITY is filled before the next gets any.", lambda rng: Priority()
        ),
    }
)


def balancer(name: str, rng: random.Random) -> Balancer:
    """A fresh balancer for a value of LOAD_BALANCER_STRATEGY. Raises ValueError for a name not in STRATEGIES."""
    strategy = STRATEGIES.get(name)
    if strategy is None:
        raise ValueError(f"there is no balancing strategy {name!r}: choose one of {', '.join(STRATEGIES)}")
    return strategy.make(rng)
