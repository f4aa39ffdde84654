"""The load generator, a process of its own: `python -m benchmarks.load`, its orders as JSON on stdin.

It answers with one JSON document. Latencies are from the moment a request was due to be sent, so that a server that
stalls is charged with the requests that it kept from being sent; those of refusals are from when they were sent.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
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
    of them. `jobs` is how many jobs one request holds. Whoever is refused pauses for `refused_pause_s`. With `ca_file`
    it speaks TLS; `headers` go with every request.
    """

    port: int
    path: str
    body: str
    connections: int
    seconds: float
    rate: float | None = None
    jobs: int = 1
    headers: dict[str, str] = {}
    ca_file: str | None = None
    refused_pause_s: float = REFUSED_PAUSE_S


class Report(msgspec.Struct, frozen=True):
    """What came of it. `accepted` counts jobs; times are wall-clock seconds; latencies of accepted requests in ms, but
    for those of `refused_`. `_each_s` are requests by whole second since the start.
    """

    accepted: int
    refused: dict[str, int]
    started: float
    ended: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float
    refused_p50_ms: float = 0.0
    refused_p99_ms: float = 0.0
    refused_max_ms: float = 0.0
    accepted_each_s: list[int] = []
    refused_each_s: list[int] = []

    @property
    def rate(self) -> float:
        """Accepted jobs a second."""
        return self.accepted / (self.ended - self.started)


class _Tally:
    def __init__(self, seconds: float) -> None:
        self.began = time.monotonic()
        self.until = self.began + seconds
        self.accepted = 0
        self.refused: dict[str, int] = {}
        self.latencies: list[float] = []
        self.refusals: list[float] = []
        # The last answers come after the end.
        self.accepted_each_s = [0] * max(math.ceil(seconds), 1)
        self.refused_each_s = [0] * max(math.ceil(seconds), 1)

    def count(self, status: int, jobs: int, due: float, sent: float) -> bool:
        """An answer; whether it was an acceptance."""
        now = time.monotonic()
        second = min(int(now - self.began), len(self.accepted_each_s) - 1)
        if status == 201:
            self.accepted += jobs
            self.latencies.append(now - due)
            self.accepted_each_s[second] += 1
            return True
        self.refused[str(status)] = self.refused.get(str(status), 0) + 1
        self.refusals.append(now - sent)
        self.refused_each_s[second] += 1
        return False


async def _send(order: Order, number: int, connection: Connection, tally: _Tally) -> None:
    raw = request(f"127.0.0.1:{order.port}", order.path, order.body.encode(), order.headers)
    pace = order.connections / order.rate if order.rate else 0.0
    due = time.monotonic() + pace * number / order.connections
    while (now := time.monotonic()) < tally.until:
        if not pace:
            due = now
        elif due > now:
            await asyncio.sleep(due - now)
        sent = time.monotonic()
        status, _ = await connection.send(raw)
        if not tally.count(status, order.jobs, due, sent):
            await asyncio.sleep(order.refused_pause_s)
        due += pace
    connection.close()


async def _run(order: Order) -> Report:
    tls = None if order.ca_file is None else ssl.create_default_context(cafile=order.ca_file)
    # Before the clock runs: what connecting costs, handshakes of TLS above all, is not what is measured here.
    connections = [await Connection.open("127.0.0.1", order.port, tls) for _ in range(order.connections)]
    started, cpu = time.time(), time.process_time()
    tally = _Tally(order.seconds)
    await asyncio.gather(*(_send(order, i, one, tally) for i, one in enumerate(connections)))
    # Nothing accepted: it took longer than the whole run.
    ms = [1000 * value for value in tally.latencies] or [1000 * order.seconds]
    refused_ms = [1000 * value for value in tally.refusals] or [0.0]
    return Report(
        tally.accepted,
        tally.refused,
        started,
        time.time(),
        percentile(ms, 50),
        percentile(ms, 99),
        max(ms),
        time.process_time() - cpu,
        percentile(refused_ms, 50),
        percentile(refused_ms, 99),
        max(refused_ms),
        tally.accepted_each_s,
        tally.refused_each_s,
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
