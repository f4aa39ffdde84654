"""The load generator, a process of its own: `python -m benchmarks.load`, its orders as JSON on stdin.

It answers with one JSON document. Latencies are from the moment a request was due to be sent, so that a server that
stalls is charged with the requests that it kept from being sent.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

import msgspec
import uvloop

from benchmarks.figures import percentile
from benchmarks.http1 import Connection, request

REFUSED_PAUSE_S = 0.05


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """`connections` send `body` to `path` for `seconds`, as fast as answers come, or `rate` requests a second over all
    of them. `jobs` is how many jobs one request holds.
    """

    port: int
    path: str
    body: str
    connections: int
    seconds: float
    rate: float | None = None
    jobs: int = 1


class Report(msgspec.Struct, frozen=True):
    """What came of it. `accepted` counts jobs; times are wall-clock seconds; latencies of accepted requests in ms."""

    accepted: int
    refused: dict[str, int]
    started: float
    ended: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Accepted jobs a second."""
        return self.accepted / (self.ended - self.started)


class _Tally:
    def __init__(self) -> None:
        self.accepted = 0
        self.refused: dict[str, int] = {}
        self.latencies: list[float] = []


async def _send(order: Order, number: int, until: float, tally: _Tally) -> None:
    connection = await Connection.open("127.0.0.1", order.port)
    raw = request(f"127.0.0.1:{order.port}", order.path, order.body.encode())
    pace = order.connections / order.rate if order.rate else 0.0
    due = time.monotonic() + pace * number / order.connections
    while (now := time.monotonic()) < until:
        if not pace:
            due = now
        elif due > now:
            await asyncio.sleep(due - now)
        status, _ = await connection.send(raw)
        if status == 201:
            tally.accepted += order.jobs
            tally.latencies.append(time.monotonic() - due)
        else:
            tally.refused[str(status)] = tally.refused.get(str(status), 0) + 1
            await asyncio.sleep(REFUSED_PAUSE_S)
        due += pace
    connection.close()


async def _run(order: Order) -> Report:
    tally = _Tally()
    started, cpu = time.time(), time.process_time()
    until = time.monotonic() + order.seconds
    await asyncio.gather(*(_send(order, i, until, tally) for i in range(order.connections)))
    ms = [1000 * value for value in tally.latencies] or [float("nan")]
    return Report(
        tally.accepted,
        tally.refused,
        started,
        time.time(),
        percentile(ms, 50),
        percentile(ms, 99),
        max(ms),
        time.process_time() - cpu,
    )


async def generate(order: Order) -> Report:
    """Run the generator as a process, to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        out, _ = await process.communicate(msgspec.json.encode(order))
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, "the load generator failed; its words stand above"
    return msgspec.json.decode(out, type=Report)


def main() -> None:
    """Read an order, carry it out, print the report."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_run(order))
    sys.stdout.write(json.dumps(msgspec.to_builtins(report)))


if __name__ == "__main__":
    main()
