"""The benchmarks by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from benchmarks import drain, footprint, https, latency, observe, overload, peers, submit
from benchmarks.figures import Findings
from benchmarks.plan import Plan

Benchmark = Callable[[Plan], Awaitable[Findings]]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "drain": drain.drain,
    "drain-1k": drain.drain_1k,
    "observe": observe.observe,
    "submit": submit.submit,
    "sustained": submit.sustained,
    "batch": submit.batch,
    "https": https.https,
    "overload": overload.overload,
    "latency": latency.latency,
    "delayed": latency.delayed,
    "priority": latency.priority,
    "backlog": footprint.backlog,
    "idle": footprint.idle,
    "peers": peers.peers,
}
