"""Two live nodes with one NODE_ID: the one that comes later is refused before it has said a word to anybody.

A node that starts looks into the registry for an earlier life under its name. On this machine the process table says at
once whether that life is over. Elsewhere its beat does: it must not rise again and again. One rise is no sign of life,
since what a process has sent may reach Redis after its end, once a network heals; nor is a beat that falls: Redis came
back with what it had a moment ago.

What this cannot see (both start in the same moment; the first was stopped while the second came) `membership` sees as
soon as both beat.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from hegemon.queue.index import MemberIndex

# A live node beats at least this often before its registry entry is believed to be left behind.
BEATS: Final = 2.5
# So many looks must find it risen: the words of a dead node come late all at once, or nearly so.
RISES: Final = 3
POLL_S: Final = 0.05


class TwinError(Exception):
    """Another node with our NODE_ID is alive; the message says what to do."""


class TwinGone(TwinError):
    """It has taken our place in the cluster and is gone again: a new start gets the place back."""


def refusal(node: str, where: str) -> str:
    """The sentence for people."""
    cure = "give each node a NODE_ID of its own, or stop the other one"
    return f"another node with NODE_ID={node} is alive ({where}): {cure}"


def process_place() -> str:
    """Names this process among all that share its process table; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}/{os.getpid()}"
    except OSError:
        return ""


def surely_ended(place: str) -> bool:
    """Whether the process that named this place is known to be gone; False when in doubt."""
    table, _, pid = place.rpartition("/")
    if not table or table != process_place().rpartition("/")[0] or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


async def refuse_live_twin(index: MemberIndex, node: str, own: str, beat_s: float) -> None:
    """Raise TwinError if another incarnation of this node beats. Takes 2.5 beats if one is registered and silent, and
    as long again after each rise, and each time Redis goes back."""
    before = await _others(index, node, own)
    before = {name: entry for name, entry in before.items() if not surely_ended(str(entry[0].get("process", "")))}
    deadline = time.monotonic() + BEATS * beat_s
    rises = Counter[str]()
    while before and time.monotonic() < deadline:
        await asyncio.sleep(min(POLL_S, beat_s / 4))
        now = await _others(index, node, own)
        for name in before.keys() & now.keys():
            (information, beat), (_, moved_to) = before[name], now[name]
            if moved_to == beat:
                continue
            before[name] = now[name]
            deadline = time.monotonic() + BEATS * beat_s
            rises[name] += moved_to > beat
            if rises[name] >= RISES:
                raise TwinError(refusal(node, str(information.get("url") or name)))


async def _others(index: MemberIndex, node: str, own: str) -> dict[str, tuple[dict[str, Any], int]]:
    nodes = (await index.counts()).nodes
    return {name: entry for name, entry in nodes.items() if entry[0].get("id") == node and name != own}
