"""The Redis index as typed calls: one method for each script, with the fences' arguments filled in.

Three callers speak to it, each with its own fence: any node (`MemberIndex`: generation), a worker (`WorkerIndex`:
generation and open incarnation), the leader (`LeaderIndex`, in `leader_index`: exact epoch and generation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hegemon.queue.depths import LOOKED_AT, QueueDepth, queue_depths
from hegemon.queue.redis import Redis

READY: Final = "ready"
_json = msgspec.json.Encoder()


class Marker(msgspec.Struct, frozen=True):
    """What a beat learns: the index's generation and state, and how each of the node's workers stands."""

    generation: int
    state: str
    epoch: int
    now_ms: int
    depth: int
    suspects: int
    open: dict[str, bool]


class IndexCounts(msgspec.Struct, frozen=True):
    """Counts and tables of the index for people. Workers: id -> (information, held); nodes: incarnation ->
    (information, beat).
    """

    ready: int
    delayed: int
    held: int
    parked: dict[str, int]
    workers: dict[str, tuple[dict[str, Any], int]]
    nodes: dict[str, tuple[dict[str, Any], int]]


def number(value: bytes) -> int:
    """An integer field that may be empty."""
    return int(value) if value else 0


class MemberIndex:
    """What any node may do. `generation` is what the node's last beat saw; 0 means that there is no index yet."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.generation = 0

    async def beat(self, incarnation: str, information: dict[str, Any], workers: Sequence[str]) -> Marker:
        """Move this node's counter and those of its workers' incarnations that are open."""
        answer = await self._redis.run("beat", incarnation, _json.encode(information), *workers)
        return Marker(
            generation=number(answer[0]),
            state=answer[1].decode(),
            epoch=number(answer[2]),
            now_ms=answer[3],
            depth=answer[4],
            suspects=answer[5],
            open={worker: bool(flag) for worker, flag in zip(workers, answer[6:], strict=True)},
        )

    async def look(self) -> tuple[int, str, int | None, int]:
        """The office as a bystander sees it: epoch (0: no marker), its holder's node, its counter (None: missing, as
        while the index is rebuilt), and how many steps rebuilds have taken."""
        epoch, holder, beat, moves = await self._redis.run("office_look")
        return number(epoch), holder.decode(), int(beat) if beat else None, number(moves)

    async def add(
        self, incarnation: str, group: int, jobs: Sequence[tuple[str, bytes, int | None, int]]
    ) -> tuple[int, int, list[str]]:
        """Index a group of (entry, body, due ms or None, attempt that `probe` saw); (added, or -1 if it was applied
        before, jobs in the index, ids that do not stand as they were seen any more and were left out).
        """
        args: list[str | bytes | int] = [self.generation, incarnation, group]
        for entry, body, due, seen in jobs:
            args += (entry, body, "" if due is None else due, seen)
        answer = await self._redis.run("index_add", *args)
        return answer[1], answer[2], [item.decode() for item in answer[3:]]

    async def probe(self, ids: Sequence[str]) -> dict[str, int]:
        """The attempt of each id's body or tombstone, 0 for none. Read the documents after this, not before."""
        return dict(zip(ids, (await self._redis.run("probe", self.generation, *ids))[1:], strict=True))

    async def cancel(self, job_id: str, entry: str, now_ms: int) -> str:
        """Make sure that a job nobody holds is not dispatched; the worker that holds it, or ""."""
        answer = await self._redis.run("cancel", self.generation, job_id, entry, now_ms)
        return str(answer[1].decode())

    async def cancel_held(self, worker: str, job_id: str, attempt: int, now_ms: int) -> None:
        """Tell the worker that its job is cancelled; if it holds it no more, make the job undispatchable."""
        await self._redis.run("cancel_held", self.generation, worker, job_id, attempt, now_ms)

    async def report_dead(self, worker: str, report: dict[str, Any]) -> None:
        """A worker process of ours has died."""
        await self._redis.run("report_dead", self.generation, worker, _json.encode(report))

    async def leave(self, incarnation: str) -> None:
        """This node goes, with nothing left to index."""
        await self._redis.run("node_leave", self.generation, incarnation)

    async def depths(self) -> list[QueueDepth]:
        """What waits in each queue, for people; unfenced."""
        return list(queue_depths(await self._redis.run("depths", LOOKED_AT)))

    async def tell_figures(self, node: str, figures: bytes) -> None:
        """Leave a node's figures for the others. Nothing depends on them; a rebuild clears them."""
        await self._redis.command("HSET", f"{self._redis.prefix}figures", node, figures)

    async def told_figures(self) -> dict[str, bytes]:
        """What each node left, however long ago."""
        flat = await self._redis.command("HGETALL", f"{self._redis.prefix}figures")
        items = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {node.decode(): figures for node, figures in items}

    async def forget_figures(self, nodes: Sequence[str]) -> None:
        """Of nodes that are gone for long."""
        await self._redis.command("HDEL", f"{self._redis.prefix}figures", *nodes)

    async def counts(self) -> IndexCounts:
        """Counts and tables for people; unfenced."""
        ready, delayed, held, parked, workers, nodes = await self._redis.run("stats")
        return IndexCounts(
            ready=ready,
            delayed=delayed,
            held=held,
            # A reason is `type:NAME`, or `@suspect`; people know the names.
            parked={parked[i].decode().removeprefix("type:"): parked[i + 1] for i in range(0, len(parked), 2)},
            workers={
                workers[i].decode(): (msgspec.json.decode(workers[i + 1]), workers[i + 2])
                for i in range(0, len(workers), 3)
            },
            nodes={
                nodes[i].decode(): (msgspec.json.decode(nodes[i + 1]), nodes[i + 2]) for i in range(0, len(nodes), 3)
            },
        )


class WorkerIndex:
    """What a worker process may do, under its generation and incarnation."""

    def __init__(self, redis: Redis, worker: str) -> None:
        self._redis = redis
        self.worker = worker
        self.generation = 0
        self._turn = 0

    async def state(self) -> tuple[int, str]:
        """(generation, state) of the marker; (0, "") where there is none."""
        generation, state = await self._redis.command("HMGET", f"{self._redis.prefix}marker", "generation", "state")
        return number(generation), (state or b"").decode()

    async def open(self, information: dict[str, Any], window: int) -> None:
        """Open this incarnation."""
        await self._redis.run("worker_open", self.generation, self.worker, _json.encode(information), window)

    async def declare(self, information: dict[str, Any], window: int, held: dict[str, str]) -> None:
        """During a rebuild: say what is held, id -> entry."""
        pairs = [text for pair in held.items() for text in pair]
        await self._redis.run("worker_declare", self.generation, self.worker, _json.encode(information), window, *pairs)

    async def take(
        self, want: int, window: int, acks: Sequence[tuple[str, int]]
    ) -> tuple[list[tuple[str, int]], list[tuple[str, bytes]]]:
        """Acknowledge recorded jobs, (id, attempt), and take up to `want`: what was cancelled meanwhile, (id, attempt),
        and what was taken, (entry, body).
        """
        flat = [part for ack in acks for part in ack]
        answer = await self._redis.run("take", self.generation, self.worker, want, window, len(acks), *flat)
        jobs = [(answer[i].decode(), answer[i + 1]) for i in range(2, len(answer), 2)]
        cancelled = [item.decode().split(":") for item in answer[1]]
        return [(job_id, int(attempt)) for job_id, attempt in cancelled], jobs

    async def retry(self, moves: Sequence[tuple[str, str, bytes, int]]) -> None:
        """Move recorded failures to delayed: (old entry, new entry, new body, due ms)."""
        await self._redis.run("retry", self.generation, self.worker, *(part for move in moves for part in move))

    async def give_back(self, ids: Sequence[str], *, inbox: bool) -> int:
        """Return what was not started; with `inbox` also what was not taken. Not applied after a later call of this or
        of `reconcile`."""
        self._turn += 1
        flag = "1" if inbox else "0"
        answer = await self._redis.run("give_back", self.generation, self.worker, self._turn, flag, *ids)
        return int(answer[1])

    async def drop(self, claims: Sequence[tuple[str, int]]) -> None:
        """Let go of jobs, (id, attempt), whose claim was refused or that were cancelled under us."""
        await self._redis.run("drop", self.generation, self.worker, *(part for claim in claims for part in claim))

    async def reconcile(self, missing_twice: Sequence[str]) -> set[str]:
        """Put lost ids back into the inbox; the held ids that are not in it."""
        self._turn += 1
        answer = await self._redis.run("reconcile", self.generation, self.worker, self._turn, *missing_twice)
        return {item.decode() for item in answer[1] or ()}

    async def leave(self, now_ms: int) -> None:
        """Close this incarnation in order."""
        await self._redis.run("worker_leave", self.generation, self.worker, now_ms)

    async def wait(self, timeout_s: float) -> bool:
        """Block until something lies in the inbox, or the time is up."""
        return await self._redis.wait(f"wake:{self.worker}", timeout_s)
