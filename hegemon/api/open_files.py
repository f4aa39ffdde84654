"""The process' limit of open files, beyond which connections cannot be accepted."""

from __future__ import annotations

import resource
from typing import Final

from hegemon.api import connections

# Files that a node opens besides: stores, workers, peers, the log.
FILES_OF_THE_NODE: Final = 512


def room_for(count: int) -> int:
    """Make room for so many connections in the process' limit of open files; for how many there is room then."""
    besides = connections.SPARE + FILES_OF_THE_NODE
    needed = count + besides
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return count
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        wanted = soft
    return min(count, max(1, wanted - besides, wanted // 4))
