"""Named lines at which a test may kill or stall a real process. Without HEGEMON_FAILPOINTS they are one dictionary
test.

`HEGEMON_FAILPOINTS="finish.after_write=kill@3;take.after_take=stop"` kills the process (SIGKILL to itself) the third
time it comes by the first, and stops it at the second. Actions: `kill` (SIGKILL), `stop` (SIGSTOP), `raise` (a
ConnectionError, as a lost reply). The names are the rows of the crash table in docs/architecture.md; a test holds the
two against each other.
"""

from __future__ import annotations

import os
import signal
from typing import Final

NAMES: Final = frozenset(
    {
        "submit.before_insert",
        "submit.after_insert",
        "submit.after_index",
        "promote.after_move",
        "dispatch.after_move",
        "take.after_take",
        "run.after_start_mark",
        "run.before_finish",
        "finish.after_write",
        "finish.after_ack",
        "retry.after_write",
        "cancel.after_tombstone",
        "cancel.after_write",
        "requeue.after_write",
        "recover.after_close",
        "recover.after_bump",
        "recover.after_requeue",
        "office.after_epoch",
        "rebuild.after_generation",
        "rebuild.after_bump",
        "rebuild.before_ready",
    }
)


def _parse(text: str) -> dict[str, list[tuple[str, int]]]:
    armed: dict[str, list[tuple[str, int]]] = {}
    for part in filter(None, text.split(";")):
        name, _, action = part.partition("=")
        action, _, count = action.partition("@")
        if name not in NAMES or action not in ("kill", "stop", "raise"):
            raise ValueError(f"HEGEMON_FAILPOINTS: no such failpoint or action: {part!r}")
        armed.setdefault(name, []).append((action, int(count or 1)))
    return armed


_armed: Final = _parse(os.environ.get("HEGEMON_FAILPOINTS", ""))
_seen: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Die, stop or raise here if a test asked for it."""
    if not _armed or name not in _armed:
        return
    _seen[name] = seen = _seen.get(name, 0) + 1
    for action, count in _armed[name]:
        if seen != count:
            continue
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            raise ConnectionError(f"failpoint {name}")
