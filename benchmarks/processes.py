"""What processes cost, read from /proc: CPU seconds and memory. Empty where there is no /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, in seconds; nan where it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def cpu_of(pids: Mapping[str, int]) -> dict[str, float]:
    """`cpu_s` by name."""
    return {name: cpu_s(pid) for name, pid in pids.items()}


def rss_mib(pid: int) -> float:
    """Resident memory in MiB, pages shared with other processes included; nan where it cannot be read."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    found: list[int] = []
    try:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    except OSError:
        return []
    return found
