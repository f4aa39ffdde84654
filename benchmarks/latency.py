"""How soon a handler starts: after a submit, at a due time, and past a crowd of lower priority."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import MongoClient, WriteConcern

from benchmarks.cluster import Node
from benchmarks.figures import Figure, Findings, at_least, at_most, percentile
from benchmarks.plan import Plan

DURABLE = WriteConcern(w="majority", j=True)


class Stamps:
    """The file into which the handler `stamp` writes when it starts: number -> (monotonic ns, wall ns)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[int, tuple[int, int]] = {}
        self._read = 0
        path.touch()

    def look(self) -> dict[int, tuple[int, int]]:
        """Read what is new."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                number, monotonic, wall = map(int, line.split())
                self.found.setdefault(number, (monotonic, wall))
        return self.found

    def wait(self, number: int, timeout_s: float = 30.0) -> tuple[int, int]:
        """Block until `number` has started. Polled: how soon this returns is no part of any figure."""
        deadline = time.monotonic() + timeout_s
        while number not in self.look():
            assert time.monotonic() < deadline, f"job {number} did not start within {timeout_s} s"
            time.sleep(0.002)
        return self.found[number]

    async def all(self, count: int, timeout_s: float = 120.0) -> None:
        """Wait for `count` starts."""
        deadline = time.monotonic() + timeout_s
        while len(self.look()) < count:
            assert time.monotonic() < deadline, f"{len(self.found)} of {count} started within {timeout_s} s"
            await asyncio.sleep(0.02)


def _stamp(path: Path, number: int, **options: Any) -> dict[str, Any]:
    return {"type": "stamp", "payload": {"path": str(path), "n": number}, **options}


def _one_by_one(node: Node, path: Path, samples: int) -> tuple[list[float], list[float]]:
    """(handler starts, durable inserts) in ms, taken in turns on an idle system."""
    connection = http.client.HTTPConnection("127.0.0.1", int(node.environment["SERVER_PORT"]))
    client: MongoClient[dict[str, Any]] = MongoClient(node.environment["MONGODB_URI"])
    inserts_into = client[f"{node.name}-inserts"].get_collection("plain", write_concern=DURABLE)
    starts, inserts = [], []
    stamps = Stamps(path)
    headers = {"Content-Type": "application/json"}
    try:
        for number in range(samples + 20):
            body = json.dumps(_stamp(path, number)).encode()
            time.sleep(random.uniform(0.01, 0.03))
            sent = time.monotonic_ns()
            connection.request("POST", "/api/v1/jobs", body, headers)
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status == 201, text
            began, _ = stamps.wait(number)
            time.sleep(random.uniform(0.01, 0.03))
            document = {"_id": f"{number:036}", "status": "pending", "payload": body, "created_at": sent}
            before = time.monotonic_ns()
            inserts_into.insert_one(document)
            after = time.monotonic_ns()
            if number >= 20:  # The first ones warm connections and caches.
                starts.append((began - sent) / 1e6)
                inserts.append((after - before) / 1e6)
    finally:
        client.drop_database(f"{node.name}-inserts")
        client.close()
        connection.close()
    return starts, inserts


async def latency(plan: Plan) -> Findings:
    """Submit to handler start over HTTP, one at a time on an idle node, beside a plain durable insert."""
    rounds = []
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            path = plan.stores.directory / f"{node.name}-stamps"
            rounds.append(await asyncio.to_thread(_one_by_one, node, path, plan.size(400, 50)))
        starts, inserts = rounds[-1]
        plan.say(
            f"round {number + 1}: start p50 {percentile(starts, 50):.2f} ms, p99 {percentile(starts, 99):.2f} ms; "
            f"insert p50 {percentile(inserts, 50):.2f} ms"
        )

    def each(value: Callable[[list[float], list[float]], float]) -> list[float]:
        return [value(starts, inserts) for starts, inserts in rounds]

    return Findings(
        [
            Figure("submit to handler start, p50", "ms", each(lambda s, _: percentile(s, 50))),
            Figure("submit to handler start, p99", "ms", each(lambda s, _: percentile(s, 99))),
            Figure("one durable insert, p50", "ms", each(lambda _, i: percentile(i, 50))),
            Figure(
                "p50 beyond one durable insert",
                "ms",
                each(lambda s, i: percentile(s, 50) - percentile(i, 50)),
                at_most(2),
            ),
            Figure("p99 over p50", "ratio", each(lambda s, _: percentile(s, 99) / percentile(s, 50)), at_most(4)),
        ],
        {"starts_ms": [r[0] for r in rounds], "inserts_ms": [r[1] for r in rounds]},
    )


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _lateness(node: Node, path: Path, due_ms: list[int]) -> list[float]:
    jobs = [_stamp(path, i, scheduled_at=_rfc3339(due)) for i, due in enumerate(due_ms)]
    await node.submit_many(jobs)
    stamps = Stamps(path)
    await stamps.all(len(jobs))
    # The cluster clock is the store's clock, and the store runs on this machine.
    return [stamps.found[i][1] / 1e6 - due for i, due in enumerate(due_ms)]


async def delayed(plan: Plan) -> Findings:
    """Lateness of handler starts: one due while nothing else happens, and 2,000 due at one instant."""
    singles, crowds = [], []
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            directory = plan.stores.directory
            count = plan.size(200, 40)
            begin = int(time.time() * 1000) + 1_500
            due = [begin + 100 * i + random.randrange(60) for i in range(count)]
            singles.append(await _lateness(node, directory / f"{node.name}-singles", due))
            instant = int(time.time() * 1000) + 3_000
            crowds.append(await _lateness(node, directory / f"{node.name}-crowd", [instant] * plan.size(2_000)))
        plan.say(
            f"round {number + 1}: one due p99 {percentile(singles[-1], 99):.1f} ms late, "
            f"earliest {min(singles[-1]):.1f}; crowd started within {max(crowds[-1]):.0f} ms"
        )
    return Findings(
        [
            Figure("one due while idle, lateness p50", "ms", [percentile(r, 50) for r in singles]),
            Figure("one due while idle, lateness p99", "ms", [percentile(r, 99) for r in singles], at_most(5)),
            Figure(
                "the earliest of all",
                "ms",
                [min(a + b) for a, b in zip(singles, crowds, strict=True)],
                at_least(0),
            ),
            Figure(f"{len(crowds[0]):,} due at one instant, all started", "ms", [max(r) for r in crowds], at_most(300)),
        ],
        {"singles_ms": singles, "crowds_ms": crowds},
    )


async def priority(plan: Plan) -> Findings:
    """A job of priority 10 behind 10,000 that sleep for a second at priority 0, on 10 slots."""
    waits = []
    for number in range(plan.rounds):
        async with plan.stores.node(WORKER_COUNT="10") as node:
            path = plan.stores.directory / f"{node.name}-urgent"
            nap = {"type": "nap", "payload": {"seconds": 1.0}, "priority": 0}
            await node.submit_many([nap] * plan.size(10_000))
            await asyncio.sleep(2.5)
            found = []
            for i in range(5):
                await asyncio.sleep(random.uniform(0.2, 1.2))
                sent = time.monotonic_ns()
                await node.submit("stamp", {"path": str(path), "n": i}, priority=10)
                began, _ = await asyncio.to_thread(Stamps(path).wait, i)
                found.append((began - sent) / 1e9)
        waits.append(max(found))
        plan.say(f"round {number + 1}: the longest of {len(found)} waited {waits[-1]:.2f} s")
    return Findings(
        [Figure("urgent job behind 10,000 sleepers starts after", "s", waits, at_most(1.1))], {"waits_s": waits}
    )
