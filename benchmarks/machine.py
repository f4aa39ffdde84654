"""Names the machine and the versions that a figure was measured with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from hegemon.cluster.server_binaries import find_mongod, find_redis_server

PACKAGES = ("hegemon", "redis", "hiredis", "motor", "pymongo", "msgspec", "uvloop", "uvicorn", "httptools", "fastapi")


def describe() -> dict[str, object]:
    """Cores, CPU, memory, kernel, load, Python and versions; all of it strings and numbers."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_1m": round(os.getloadavg()[0], 2),
        "redis": _version([str(find_redis_server()), "--version"]),
        "mongodb": _version([str(find_mongod()), "--version"]),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _version(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("\n")[0].strip()
