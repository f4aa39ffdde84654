"""How news becomes belief: what is said of a member, what a failed probe says, what a timeout decides (SWIM, 4.2).

Each change goes into the table, with the alarms and the place among those probed that hang on it, and is passed on.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hegemon.election.contract import Health, Member, Randomness
from hegemon.election.swim_awareness import Awareness, Suspicion
from hegemon.election.swim_dissemination import Dissemination
from hegemon.election.swim_messages import INCARNATION_MAX, Fact
from hegemon.election.swim_schedule import ProbeSchedule
from hegemon.election.swim_table import LIVE, Entry, MemberTable, supersedes
from hegemon.election.swim_timers import Key, Timers
from hegemon.election.swim_timing import SwimTiming

GOSSIP: Final[Key] = ("gossip", "")
GREET: Final[Key] = ("greet", "")


class Membership:
    """The beliefs of one member. `own` is the fact that it spreads of itself; ``witness_s`` is how long a look at the
    store proves a member alive. Its owner rings `expire` and `forget`, and sends what waits in `queue`."""

    def __init__(
        self,
        me: Member,
        *,
        timers: Timers,
        awareness: Awareness,
        timing: SwimTiming,
        rng: Randomness,
        witness_s: float,
    ) -> None:
        self.own = Fact(me.id, Health.ALIVE, me.incarnation, me.address, me.rank, me.fit)
        self.table = MemberTable(self.own)
        self.queue = Dissemination()
        self.schedule = ProbeSchedule(me.id, rng)
        self.gossiped_at = float("-inf")
        self._timers = timers
        self._awareness = awareness
        self._timing = timing
        self._witness_s = witness_s

    @property
    def left(self) -> bool:
        """Whether this member has said good-bye."""
        return self.own.health is Health.LEFT

    def is_unsuspected(self, member: str) -> bool:
        """Whether it is alive, and nobody says otherwise."""
        entry = self.table.get(member)
        return entry is not None and entry.fact.health is Health.ALIVE

    def is_doubtful(self, member: str) -> bool:
        """Whether it is suspected, and our word would confirm it."""
        entry = self.table.get(member)
        return entry is not None and entry.suspicion is not None and entry.suspicion.wants(self.own.id)

    # -- news ----------------------------------------------------------------------------------------------------------

    def learn(self, fact: Fact, sender: str, now: float) -> None:
        """What somebody says of a member, this one perhaps."""
        if fact.id == self.own.id:
            self._hear_of_myself(fact, now)
            return
        entry = self.table.get(fact.id)
        if entry is None:
            if fact.health in LIVE:
                self._arrive(fact, now)
            return
        if fact.health is Health.DEAD and entry.fact.health in LIVE and self._is_witnessed(entry, now):
            fact = msgspec.structs.replace(fact, health=Health.SUSPECT)  # cut off from them, and the store shows it
        if fact.health is Health.SUSPECT:
            self.suspect(entry, fact.incarnation, fact.by or sender, now, said=fact)
        elif supersedes(fact, entry.fact):
            self._believe(fact, now)

    def _arrive(self, fact: Fact, now: float) -> None:
        """Somebody new. One that is suspected already is known as alive first, so that the suspicion gets its time."""
        alive = msgspec.structs.replace(fact, health=Health.ALIVE, by="")
        self._believe(alive, now)
        if fact.health is Health.SUSPECT and (entry := self.table.get(fact.id)) is not None:
            self.suspect(entry, fact.incarnation, fact.by, now)

    def _believe(self, fact: Fact, now: float) -> None:
        """Put it into the table, with all that hangs on it, and pass it on."""
        before = self.table.get(fact.id)
        was_live = before is not None and before.fact.health in LIVE
        entry = self.table.put(fact)
        entry.suspicion = None
        self._timers.cancel(("suspect", fact.id))
        if fact.health in LIVE:
            self._timers.cancel(("forget", fact.id))
            if not was_live:
                self.schedule.add(fact.id)
        else:
            keep_s = self._timing.forget_s if fact.health is Health.DEAD else self._timing.forget_left_s
            self._timers.set(("forget", fact.id), now + keep_s)
            if was_live:
                self.schedule.remove(fact.id)
            self.look_for_the_lost(now)
        self.spread(fact, now)

    def _hear_of_myself(self, fact: Fact, now: float) -> None:
        own = self.own
        if self.left or fact.incarnation < own.incarnation or fact.incarnation >= INCARNATION_MAX:
            return
        if fact.health is not Health.ALIVE:
            self._refute(fact, now)
        elif fact.incarnation > own.incarnation or fact != own:
            self.restate(now, above=fact.incarnation)  # said of a former life

    def _refute(self, fact: Fact, now: float) -> None:
        """Only the member itself raises its incarnation (SWIM, 4.2); to have to is a sign of bad local health."""
        self.restate(now, above=fact.incarnation)
        self._awareness.worse()

    def restate(self, now: float, *, above: int = -1, fit: bool | None = None, health: Health = Health.ALIVE) -> None:
        """Say something new of oneself, under an incarnation higher than ``above`` and one's own."""
        own = self.own
        self.own = msgspec.structs.replace(
            own,
            incarnation=max(own.incarnation, above) + 1,
            fit=own.fit if fit is None else fit,
            health=health,
        )
        self.table.put(self.own)
        self.spread(self.own, now)

    def spread(self, fact: Fact, now: float) -> None:
        """Have it piggybacked, and gossiped about."""
        self.queue.add(fact)
        if GOSSIP not in self._timers and self.table.live:
            # While there is no news nothing is sent, so that what is new need not wait for the next round.
            self._timers.set(GOSSIP, max(now, self.gossiped_at + self._timing.gossip_s))

    # -- suspicion -----------------------------------------------------------------------------------------------------

    def suspect(self, entry: Entry, incarnation: int, by: str, now: float, said: Fact | None = None) -> None:
        """A suspicion of our own or another's; a further one of the same incarnation confirms it."""
        current = entry.fact
        fact = msgspec.structs.replace(said or current, health=Health.SUSPECT, incarnation=incarnation, by=by)
        if supersedes(fact, current):
            size = len(self.table)
            least_s = self._timing.suspicion_min_s(size)
            self._believe(fact, now)
            entry.suspicion = Suspicion(
                by,
                now,
                least_s=least_s,
                most_s=least_s * self._timing.suspicion_max,
                expected=self._timing.confirmations if size - 2 >= self._timing.confirmations else 0,
            )
        elif current.health is Health.SUSPECT and incarnation == current.incarnation and entry.suspicion is not None:
            if not entry.suspicion.confirm(by):
                return
            self.spread(fact, now)
        else:
            return
        self._timers.set(("suspect", current.id), entry.suspicion.deadline())

    def expire(self, member: str, now: float) -> None:
        """A suspect did not refute in time: it is dead, unless the store shows it."""
        entry = self.table.get(member)
        if entry is None or entry.fact.health is not Health.SUSPECT:
            return
        if self._is_witnessed(entry, now):
            self._timers.set(("suspect", member), entry.witnessed_at + self._witness_s)
        else:
            self._believe(msgspec.structs.replace(entry.fact, health=Health.DEAD, by=self.own.id), now)

    def witness(self, members: frozenset[str], now: float) -> None:
        """The store shows that these are alive."""
        for member in members:
            if (entry := self.table.get(member)) is not None:
                entry.witnessed_at = now

    def _is_witnessed(self, entry: Entry, now: float) -> bool:
        return now < entry.witnessed_at + self._witness_s

    def look_for_the_lost(self, now: float) -> None:
        """There is somebody to greet now and then."""
        if GREET not in self._timers:
            self._timers.set(GREET, now + self._timing.sync_s)
