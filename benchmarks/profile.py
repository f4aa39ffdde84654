"""Where the time of a node's processes goes: `./dev bench NAME --profile` samples them with py-spy meanwhile.

A profiled run is slower, so its figures are not kept. Only threads that hold the GIL are sampled: the others wait.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

RATE: Final = 250
# The first of these that a stack names, from its innermost frame outwards, owns the sample.
OWNERS: Final = (
    ("our HTTP endpoints", r"hegemon/api/"),
    ("submission", r"hegemon/(queue/(submit|doubts|jobs|entries|ids|sequence)|cluster/service)\.py"),
    ("our MongoDB calls", r"hegemon/queue/(store|completions|queries|office_store|mongo)\.py"),
    ("our Redis calls", r"hegemon/queue/(index|leader_index|redis)\.py"),
    ("dispatch", r"hegemon/cluster/(scheduler|balancing)\.py"),
    ("the worker's claims and records", r"hegemon/worker/"),
    ("the rest of the cluster", r"hegemon/(cluster|election)/"),
    ("PyMongo and Motor", r"(pymongo|motor|bson)/"),
    ("redis-py", r"redis/"),
    ("uvicorn, httptools", r"(uvicorn|httptools)/|parser\.c"),
    ("FastAPI, Starlette", r"(fastapi|starlette)/"),
    ("uvloop", r"loop\.c|uvloop|core\.c|linux\.c|stream\.c"),
    ("asyncio, threads", r"asyncio|threading|concurrent"),
)


class Profiler:
    """py-spy on some processes. `stop` waits for its end; `shares` reads what it found."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        self._files: dict[str, list[Path]] = {}

    def start(self, pids: Mapping[str, int]) -> None:
        """Sample these processes from now on."""
        for name, pid in pids.items():
            path = self._directory / f"{name}-{pid}.raw"
            self._files.setdefault(name, []).append(path)
            command = ["-p", str(pid), "-f", "raw", "-r", str(RATE), "--gil", "-o", str(path), "-d", "100000"]
            self._running.append(
                subprocess.Popen(
                    [str(Path(sys.executable).parent / "py-spy"), "record", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )

    async def stop(self) -> None:
        """End the sampling, which writes the files."""
        for process in self._running:
            process.send_signal(2)
        for process in self._running:
            await asyncio.to_thread(process.wait, 60)
        self._running.clear()

    def shares(self) -> dict[str, Counter[str]]:
        """Samples by owner, for each process."""
        found = {}
        for name, paths in self._files.items():
            lines = (line for path in paths if path.exists() for line in path.read_text().splitlines())
            found[name] = count(lines)
        return found


def count(lines: Iterable[str]) -> Counter[str]:
    """Samples by owner of `outer;...;inner count` lines."""
    shares: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        shares[owner(stack.split(";"))] += int(samples)
    return shares


def owner(frames: list[str]) -> str:
    """Who a sample is counted for: the innermost frame that anybody owns."""
    for frame in reversed(frames):
        for name, pattern in OWNERS:
            if re.search(pattern, frame):
                return name
    return "the interpreter"
