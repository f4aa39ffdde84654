"""What is known of a leader, and how fresh it is: a beat of its own, or somebody's word with the age of what *he*
heard.

Evidence is never made younger by being passed on, so that a dead leader's last beat ages alike everywhere; it only may
be a little older where it came through others, by two heartbeats a hop, before it counts as silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hegemon.election.contract import Health, Member, precedence

HOPS_MAX: Final = 5
Standing = tuple[bool, tuple[int, tuple[tuple[int, int, str], ...]]]


@lru_cache(maxsize=1024)
def standing(member: Member) -> Standing:
    """The highest of these leads: the fit before the unfit, then by precedence."""
    return (member.fit, precedence(member))


def better_than(me: Member, members: Iterable[Member], without: str | None) -> int:
    """How many of the alive come before ``me``, not counting the leader that is missed."""
    own = standing(me)
    return sum(
        member.health is Health.ALIVE and member.id not in (without, me.id) and standing(member) > own
        for member in members
    )


def best_other(me: Member, members: Iterable[Member]) -> Member | None:
    """Who should lead in ``me``'s place: the best of the others that are alive and fit."""
    others = [member for member in members if member.health is Health.ALIVE and member.fit and member.id != me.id]
    return max(others, key=standing, default=None)


@dataclass(slots=True)
class Reign:
    """One leader's term. ``heard_at``: when beat ``count`` reached the first of those through whom we have it, on our
    clock; ``hops``: how many they are. ``company``: whether anybody followed this leader."""

    leader: str
    term: int
    heard_at: float
    count: int = 0
    hops: int = 0
    company: bool = False

    def hear(self, count: int, at: float, hops: int, *, company: bool) -> bool:
        """Take evidence, if it is newer than what there is."""
        if count <= self.count:
            return False
        self.count = count
        self.company = self.company or company
        if at > self.heard_at:
            self.heard_at, self.hops = at, hops
        return True

    def silent_from(self, silence_s: float, heartbeat_s: float) -> float:
        """The time from which on its silence is a loss, if nothing more is heard."""
        return self.heard_at + silence_s + 2 * heartbeat_s * min(self.hops, HOPS_MAX)
