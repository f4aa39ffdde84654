"""What a Bully node believes of itself and of who leads, and how it says so: each message carries all of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from hegemon.election import bully_messages as wire
from hegemon.election.bully_roster import Peer, Roster
from hegemon.election.contract import (
    DATAGRAM_MAX,
    Effect,
    Health,
    Member,
    Role,
    Send,
    Stream,
    Timing,
    View,
    precedence,
)

SETBACK_MEMORY: Final = 60.0  # intervals
CALM: Final = 20.0  # intervals without taking over, for each setback remembered
HOLD_MAX: Final = 8.0  # intervals

Strength = tuple[bool, bool, int, tuple[int, tuple[tuple[int, int, str], ...]]]


def strength(leader: Peer, term: int) -> Strength:
    """What the better of two claims to lead has more of: the stores, then followers, then the term, then precedence.

    A node that was cut off and elected itself has no followers, or had no stores, and must not depose on its return the
    leader that the others kept; one that was stopped while they elected another has the lower term."""
    return (leader.sound, leader.followed, term, precedence(leader.member))


@dataclass(slots=True)
class Belief:
    """Our own state. ``now`` is the time of the event in hand, ``leader_term`` the term of the claim that is followed,
    ``term`` the highest that was ever heard of. Before ``hold_until`` we do not stand, before ``calm_until`` we do not
    ask a healthy leader to hand over, until ``pause_until`` we are resigned."""

    me: Member
    timing: Timing
    now: float = -math.inf
    role: Role = Role.FOLLOWER
    leader: str | None = None
    leader_term: int = 0
    term: int = 0
    pause_until: float = -math.inf
    hold_until: float = -math.inf
    calm_until: float = -math.inf
    unfit_since: float | None = None
    fit_since: float = -math.inf
    sound: bool = True
    setbacks: list[float] = field(default_factory=list)

    @property
    def leads(self) -> bool:
        return self.role is Role.LEADER

    @property
    def gone(self) -> bool:
        """Resigned for good."""
        return self.me.health is Health.LEFT

    @property
    def standing(self) -> bool:
        return self.role is not Role.RESIGNED and self.now >= self.hold_until

    def take_fitness(self, fit: bool) -> None:
        self.me = replace(self.me, fit=fit)
        self.unfit_since, self.fit_since = (None, self.now) if fit else (self.now, self.fit_since)
        self.sound = self.sound and fit

    def recover(self, followed: bool) -> None:
        """A lead that missed the stores for a time is sound again once others have followed it back to them."""
        if followed and self.me.fit and self.now - self.fit_since >= self.timing.interval_s:
            self.sound = True

    def strength(self, roster: Roster) -> Strength:
        """Of the claim that we make or follow."""
        if (leader := roster.get(self.leader)) is not None:
            return strength(leader, self.leader_term)
        return (self.sound, roster.follows_us, self.leader_term, precedence(self.me))

    def set_back(self, *, strictly: bool = False) -> None:
        """We lose the lead against our will: the more often lately, the longer we leave it to others."""
        interval_s = self.timing.interval_s
        self.setbacks = [at for at in self.setbacks if self.now - at < SETBACK_MEMORY * interval_s] + [self.now]
        self.calm_until = self.now + CALM * interval_s * len(self.setbacks)
        doublings = len(self.setbacks) - (1 if strictly else 2)
        if doublings >= 0:
            self.hold_until = self.now + interval_s * min(2.0 ** min(doublings, 10), HOLD_MAX)

    def view(self, roster: Roster) -> View:
        members = sorted((self.me, *(peer.member for peer in roster)), key=lambda member: member.id)
        return View(self.leader, self.term, self.role, tuple(members))


class Voice:
    """What we say, collected until the event has been dealt with: every message with the belief of its moment."""

    def __init__(self, own: Belief, roster: Roster, witnessed: Callable[[Peer], bool]) -> None:
        self._own, self._roster, self._witnessed = own, roster, witnessed
        self._seq = self._pulse = 0
        self._said: list[Effect] = []

    def taken(self) -> list[Effect]:
        said, self._said = self._said, []
        return said

    def beat(self) -> None:
        """One heartbeat to everybody that has not left; in a large cluster, if we do not lead, only every so often."""
        self._pulse += 1
        if not self._own.leads and self._pulse % self._roster.pace:
            return
        # The dead as well, and as often: they may be back, or hear us without being heard, and pass our words on.
        for peer in self._roster:
            self.say(peer, wire.Beat)

    def say(self, peer: Peer, message: Callable[[wire.Head], wire.Message], *, surely: bool = False) -> None:
        """Send one message; ``surely``: over a stream as well."""
        if peer.gone:
            return
        self._seq += 1
        payload = wire.encode(message(self._head(peer)))
        if len(payload) <= DATAGRAM_MAX:
            self._said.append(Send(peer.id, payload))
        if surely or len(payload) > DATAGRAM_MAX:
            self._said.append(Stream(peer.id, payload))

    def ask(self, peer: Peer, ballot: int) -> None:
        self.say(peer, lambda head: wire.Election(head, ballot))

    def show(self, peer: Peer, rows: tuple[wire.Row, ...], *, reply: bool) -> None:
        self.say(peer, lambda head: wire.Table(head, rows, reply))

    def show_all(self, peer: Peer, *, reply: bool) -> None:
        me = self._own.me
        own = wire.Row(me.id, me.incarnation, me.address, me.rank, left=False)
        self.show(peer, (own, *self._roster.rows(self._own.now)), reply=reply)

    def tell_incarnation(self, peer: Peer) -> None:
        """It speaks under an incarnation that we hold for past or gone: it may take one above what we know."""
        me = self._own.me
        self._seq += 1
        row = wire.Row(peer.id, peer.incarnation, peer.address, peer.rank, peer.gone)
        head = wire.Head(me.incarnation, self._seq, self._pulse, self._own.term, me.rank, me.fit, False, False, None)
        self._said.append(Send(peer.id, wire.encode(wire.Table(head, (row,), reply=False))))

    def _head(self, peer: Peer) -> wire.Head:
        own, me = self._own, self._own.me
        heard = peer.health is Health.ALIVE
        return wire.Head(
            me.incarnation, self._seq, self._pulse, own.term, me.rank, me.fit, own.standing, heard, self._claim()
        )

    def _claim(self) -> wire.Claim | None:
        own, me = self._own, self._own.me
        if own.leads:
            return wire.Claim(me.id, me.incarnation, own.leader_term, self._pulse, own.sound, self._roster.follows_us)
        if (leader := self._roster.get(own.leader)) is None:
            return None
        witnessed = me.fit and self._witnessed(leader)
        return wire.Claim(
            leader.id, leader.incarnation, own.leader_term, leader.pulse, leader.sound, leader.followed, witnessed
        )
