"""How a leader's beats reach everybody: directly while the members are few, through relays when they are many.

A relay is drawn anew for each beat, so that one which is dead costs the members behind it one beat, not the leader.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from hegemon.election.contract import Send
from hegemon.election.gossip_messages import Beat
from hegemon.election.swim_messages import encode

DIRECT_MAX: Final = 10  # members to whom the leader beats itself
NAMES_MAX: Final = 900  # bytes of names in a beat


def slowness(size: int) -> float:
    """By what the heartbeat and the patience grow in a group of ``size``: 1 up to ten members, 4.3 for a hundred."""
    return 1.0 if size <= DIRECT_MAX else 1.0 + math.log2(size / DIRECT_MAX)


def beats(beat: Beat, shuffled: Sequence[str]) -> list[Send]:
    """One beat for all of them."""
    if len(shuffled) < DIRECT_MAX:
        payload = encode(beat)
        return [Send(member, payload) for member in shuffled]
    each = math.isqrt(len(shuffled) - 1)  # members behind each relay
    sends: list[Send] = []
    at = 0
    while at < len(shuffled):
        relay, rest = shuffled[at], shuffled[at + 1 : at + 1 + each]
        at += 1 + len(rest)
        room = NAMES_MAX
        behind: list[str] = []
        for member in rest:
            room -= len(member.encode()) + 3
            if room < 0:
                sends.append(Send(member, encode(beat)))  # names so long that they do not fit
            else:
                behind.append(member)
        sends.append(Send(relay, encode(Beat(beat.term, beat.leader, beat.count, beat.company, tuple(behind)))))
    return sends
