"""The leader's side of the Redis index. Every call carries the exact epoch and generation of the office that makes
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hegemon.queue.entries import Entry, parse_entry
from hegemon.queue.index import number
from hegemon.queue.redis import LAYOUT, Redis


class Load(msgspec.Struct, frozen=True):
    """What the stores know of a worker's load: jobs held, and how many it can make use of holding."""

    held: int
    window: int


class Survey(msgspec.Struct, frozen=True):
    """Loads by worker, and per queue the heads of its ready lists in priority order. `due_ms`: the next delayed job."""

    loads: dict[str, Load]
    due_ms: int | None
    now_ms: int
    deaths: int
    parked: list[str]
    queues: list[list[Entry]]


class Round(msgspec.Struct, frozen=True):
    """What the slower duties look at. `recovering`: id -> (mark, worker, entry); `tombstones`: id -> since ms."""

    beats: dict[str, int]
    workers: dict[str, dict[str, Any]]
    dead: dict[str, dict[str, Any]]
    parked: dict[str, int]
    recovering: dict[str, tuple[str, str, str]]
    check: list[str]
    tombstones: dict[str, int]
    nodes: dict[str, dict[str, Any]]


class Placement(msgspec.Struct, frozen=True):
    """Where a live document goes: `due` None is the ready list; `holder` a worker that declared it (rebuild only)."""

    entry: str
    body: bytes
    due: int | None = None
    holder: str | None = None


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


class LeaderIndex:
    """Scripts that pass only under exactly this epoch and generation; all raise `Fenced` otherwise."""

    def __init__(self, redis: Redis, *, epoch: int, generation: int) -> None:
        self._redis = redis
        self.epoch = epoch
        self.generation = generation

    async def _run(self, name: str, *args: str | bytes | int) -> list[Any]:
        return await self._redis.run(name, self.epoch, self.generation, *args)

    async def take_office(self, node: str) -> None:
        """Raise the marker's epoch to ours."""
        await self._run("office_take", node)

    async def beat(self) -> int:
        """Move the holder's counter; the cluster clock in ms."""
        return int((await self._run("office_beat"))[1])

    async def promote(self, limit: int) -> tuple[int, int | None, list[Entry]]:
        """Move what is due: (now ms, due of the next or None, moved)."""
        answer = await self._run("promote", limit)
        due = int(float(answer[2])) if answer[2] else None
        return answer[1], due, [parse_entry(item.decode()) for item in answer[3:]]

    async def survey(self, want: int) -> Survey:
        """Loads and heads, up to `want` entries, at least 16 a queue."""
        answer = await self._run("survey", want)
        flat = answer[1]
        loads = {flat[i].decode(): Load(flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)}
        return Survey(
            loads=loads,
            due_ms=int(float(answer[2])) if answer[2] else None,
            now_ms=answer[3],
            deaths=answer[4],
            parked=[item.decode() for item in answer[5]],
            queues=[[parse_entry(item.decode()) for item in queue] for queue in answer[6:]],
        )

    async def workers(self) -> dict[str, dict[str, Any]]:
        """Information of all open workers."""
        flat = await self._redis.command("HGETALL", f"{self._redis.prefix}workers")
        items = flat.items() if isinstance(flat, dict) else _pairs(flat)
        return {key.decode(): msgspec.json.decode(value) for key, value in items}

    async def dispatch(self, runs: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> tuple[int, int]:
        """Move decided entries: runs of (place, [(entry, worker or "!reason")]); (dispatched, parked)."""
        args: list[str | int] = []
        for place, moves in runs:
            args += (place, len(moves))
            for move in moves:
                args += move
        answer = await self._run("dispatch", *args)
        return answer[1], answer[2]

    async def unpark(self, reason: str, limit: int) -> tuple[int, int]:
        """Return parked entries to their places: (returned, still parked)."""
        answer = await self._run("unpark", reason, limit)
        return answer[1], answer[2]

    async def inboxes(self) -> dict[str, tuple[int, str]]:
        """What was dispatched and not taken: worker -> (entries, the one that it would take next); no empty ones."""
        found = (await self._run("inboxes"))[1:]
        return {worker.decode(): (count, entry.decode()) for worker, count, entry in found}

    async def reclaim(self, worker: str) -> int:
        """Put what a worker has not taken back into its places, and give it no more until it takes; how many."""
        return int((await self._run("reclaim", worker))[1])

    async def close_worker(self, worker: str, now_ms: int, mark: str, marks: Mapping[str, str]) -> int:
        """Close an incarnation; how many jobs moved to recovering. `mark` is for what it had taken, `marks` by id."""
        exceptions = [part for pair in marks.items() for part in pair]
        return int((await self._run("worker_close", worker, now_ms, mark, *exceptions))[1])

    async def close_node(self, incarnation: str) -> None:
        """Refuse late groups of a dead node."""
        await self._run("node_close", incarnation)

    async def reindex(self, live: Mapping[str, Placement], ended: Mapping[str, int]) -> int:
        """Index live documents under the attempt just won in MongoDB; drop the ended, id -> attempt. How many were
        indexed: none under an attempt that came in before, or earlier than one that did.
        """
        args: list[str | bytes | int] = []
        for job_id, place in live.items():
            args += (job_id, place.entry, place.body, "" if place.due is None else place.due)
        for job_id, attempt in ended.items():
            args += (job_id, "", attempt, "")
        return int((await self._run("reindex", *args))[1])

    async def settled(self, held: Mapping[str, str]) -> None:
        """Take jobs off `recovering` that need nothing: id -> the entry that they are there for."""
        await self._run("settled", *(part for pair in held.items() for part in pair))

    async def bury(self, ended: Mapping[str, int]) -> None:
        """Forget jobs whose end is confirmed: id -> attempt."""
        await self._run("bury", *(part for pair in ended.items() for part in pair))

    async def round(self, tombstones_before_ms: int) -> Round:
        """Everything that the slower duties look at, in one call."""
        a = await self._run("rounds", tombstones_before_ms)
        recovering = {}
        for key, value in _pairs(a[5]):
            head, _, entry = value.decode().partition("|")
            recovering[key.decode()] = (head[0], head[1:], entry)
        return Round(
            beats={key.decode(): number(value) for key, value in _pairs(a[1])},
            workers={key.decode(): msgspec.json.decode(value) for key, value in _pairs(a[2])},
            dead={key.decode(): msgspec.json.decode(value) for key, value in _pairs(a[3])},
            parked={key.decode(): value for key, value in _pairs(a[4])},
            recovering=recovering,
            check=[item.decode() for item in a[6]],
            tombstones={key.decode(): int(float(value)) for key, value in _pairs(a[7])},
            nodes={key.decode(): msgspec.json.decode(value) for key, value in _pairs(a[8])},
        )

    # The rebuild. Only this creates a marker.
    async def rebuild_state(self, state: str, *, run_id: str, cluster_id: str, node: str, clock_ms: int) -> None:
        """Move the marker on: rebuilding, declaring, indexing, ready."""
        await self._run("rebuild_state", state, run_id, cluster_id, LAYOUT, node, clock_ms)

    async def clear(self) -> None:
        """Delete everything of this cluster but the marker; the marker must say `rebuilding`, so that nobody adds."""
        cursor: bytes | int = 0
        marker = f"{self._redis.prefix}marker".encode()
        pattern = self._redis.prefix.replace("[", r"\[") + "*"
        while True:
            cursor, keys = await self._redis.command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            keys = [key for key in keys if key != marker]
            if keys:
                await self._run("rebuild_clear", *keys)
            if int(cursor) == 0:
                return

    async def declared(self) -> dict[str, dict[str, str]]:
        """What live workers declared: worker -> id -> entry."""
        workers = await self._redis.command("HKEYS", f"{self._redis.prefix}workers")
        found = {}
        for worker in workers:
            held = await self._redis.command("HGETALL", f"{self._redis.prefix}held:{worker.decode()}")
            items = held.items() if isinstance(held, dict) else _pairs(held)
            found[worker.decode()] = {key.decode(): value.decode() for key, value in items}
        return found

    async def undeclare(self, worker: str, ids: Sequence[str]) -> None:
        """Declared claims that MongoDB does not bear out."""
        await self._run("rebuild_undeclare", worker, *ids)

    async def rebuild_add(self, places: Sequence[Placement]) -> int:
        """Index a page of live documents in order."""
        args: list[str | bytes | int] = []
        for place in places:
            where: str | int = "" if place.due is None else place.due
            args += (place.entry, place.body, f"@{place.holder}" if place.holder else where)
        return int((await self._run("rebuild_add", *args))[1])
