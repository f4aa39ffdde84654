"""What one member believes of all others, and which news changes it (SWIM, 4.2, with memberlist's way back for the
dead, so that a healed partition and a restarted node can return).

| what is said, incarnation i | replaces what is believed, incarnation j |
|---|---|
| alive | alive, suspect, dead, left with i > j |
| suspect | alive with i >= j; suspect with i > j |
| dead, left | alive or suspect with i >= j |

News of the death of somebody unknown is not news. Nobody but the member itself raises its incarnation.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator

from hegemon.election.contract import Health, Member, Randomness
from hegemon.election.swim_awareness import Suspicion
from hegemon.election.swim_messages import Fact, checksum

LIVE = (Health.ALIVE, Health.SUSPECT)


class Entry:
    """One member as it is believed to be. ``reminded_at``: when it was last told that it is not taken for alive."""

    __slots__ = ("digest", "fact", "member", "reminded_at", "suspicion", "witnessed_at")

    def __init__(self, fact: Fact) -> None:
        self.suspicion: Suspicion | None = None
        self.reminded_at = float("-inf")
        self.witnessed_at = float("-inf")
        self.take(fact)

    def take(self, fact: Fact) -> None:
        self.fact = fact
        self.member = fact.member()
        self.digest = checksum(fact)


def supersedes(said: Fact, believed: Fact) -> bool:
    """The table above."""
    if said.health is Health.ALIVE:
        return said.incarnation > believed.incarnation
    if believed.health not in LIVE:
        return False
    if said.health is Health.SUSPECT and believed.health is Health.SUSPECT:
        return said.incarnation > believed.incarnation
    return said.incarnation >= believed.incarnation


class MemberTable:
    """All members, this one too. ``live`` holds the others that are alive or suspect, in no order; ``version`` grows
    with every change that an outsider can see."""

    def __init__(self, me: Fact) -> None:
        self._me = me.id
        self._entries = {me.id: Entry(me)}
        self._ids = [me.id]
        self._place: dict[str, int] = {}
        self.live: list[str] = []
        self.digest = checksum(me)
        self.version = 0

    def __len__(self) -> int:
        """How large the group is: this member and those that are alive or suspect."""
        return len(self.live) + 1

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, member: str) -> Entry | None:
        return self._entries.get(member)

    def is_live(self, member: str) -> bool:
        """Whether it is another, and alive or suspect."""
        return member in self._place

    def put(self, fact: Fact) -> Entry:
        """Believe this from now on."""
        entry = self._entries.get(fact.id)
        if entry is None:
            entry = self._entries[fact.id] = Entry(fact)
            insort(self._ids, fact.id)
        else:
            self.digest ^= entry.digest
            entry.take(fact)
        self.digest ^= entry.digest
        self.version += 1
        if fact.id != self._me:
            self._sort(fact.id, live=fact.health in LIVE)
        return entry

    def forget(self, member: str) -> None:
        """As if it had never been."""
        entry = self._entries.pop(member)
        self.digest ^= entry.digest
        del self._ids[bisect_left(self._ids, member)]
        self._sort(member, live=False)
        self.version += 1

    def facts(self) -> tuple[Fact, ...]:
        """All of it, this member first."""
        own = self._entries[self._me].fact
        return (own, *(entry.fact for entry in self._entries.values() if entry.fact is not own))

    def members(self) -> tuple[Member, ...]:
        """By id."""
        return tuple([self._entries[member].member for member in self._ids])

    def pick(self, count: int, rng: Randomness, without: Collection[str] = ()) -> list[str]:
        """Up to ``count`` different live others at random."""
        live = self.live
        if len(live) <= count + len(without) + 2:
            chosen = [member for member in live if member not in without]
            rng.shuffle(chosen)
            return chosen[:count]
        chosen = []
        while len(chosen) < count:
            member = live[rng.randrange(len(live))]
            if member not in without and member not in chosen:
                chosen.append(member)
        return chosen

    def _sort(self, member: str, *, live: bool) -> None:
        place = self._place.get(member)
        if live and place is None:
            self._place[member] = len(self.live)
            self.live.append(member)
        elif not live and place is not None:
            last = self.live.pop()
            del self._place[member]
            if last != member:
                self.live[place] = last
                self._place[last] = place
