"""Leaving the stores to running jobs: whoever submits faster than jobs run only makes the backlog grow, and must not
stop what empties it.
"""

from __future__ import annotations

from typing import Final

# Beyond this backlog a batch waits PACE times as long as it took: running jobs keep about a half (0.4: a third).
BACKLOG_MIN: Final = 5_000
PACE: Final = 1.0
PACE_S_MAX: Final = 0.5


def pause_s(took_s: float, depth: int, *, working: bool) -> float:
    """How long a batch waits that kept the stores busy for `took_s`, at a backlog of `depth` jobs; mostly 0."""
    return min(took_s * PACE, PACE_S_MAX) if depth > BACKLOG_MIN and working else 0.0
