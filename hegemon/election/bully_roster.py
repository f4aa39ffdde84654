"""Whom a Bully node knows, and what it believes of each: the part of it that decides who is alive.

| health | while | then |
|---|---|---|
| alive | heard itself within ``silence_s`` (a) | suspect |
| suspect | silent for less than three times that; or witnessed by the store within ``member_witness_s``; or met and not
  heard yet; or the leader, whom others still hear | dead |
| dead | none of these; and a leader given up as silent, at once | alive when heard, suspect when witnessed; forgotten
  after 300 intervals |
| left | it said so, under this incarnation | alive under a newer one; forgotten likewise |

(a) In a cluster of more than ten, members that do not lead beat less often, and are given as much longer.

A message counts as a sign of life only if it is newer than all before it from that incarnation: one that is delayed or
doubled says nothing about now. Silence is counted only while this node listened itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hegemon.election.bully_messages import Claim, Head, Row
from hegemon.election.contract import Health, Member, Timing

# Up to so many members all beat every heartbeat; above, those that do not lead beat in proportion more slowly.
FULL_PACE_MAX: Final = 10
SUSPICION: Final = 3.0  # silences until a member that does not lead counts as dead
ADVERTISED: Final = 60.0  # intervals that one dead or gone stays in the tables that we send
REMEMBERED: Final = 300.0  # and in ours; the difference keeps tables from reviving each other's dead


@dataclass(slots=True)
class Peer:
    """One other member. ``quiet_from`` is since when it is silent, ``word_at`` when its pulse last moved, heard from
    itself or from others; ``hears_us`` and ``follows_us`` are what it last said of that, ``sound`` and ``followed``
    what its last claim to lead said."""

    id: str
    incarnation: int
    quiet_from: float
    address: str = ""
    rank: int | None = None
    fit: bool = True
    health: Health = Health.SUSPECT
    met: bool = False
    seq: int = -1
    pulse: int = -1
    standing: bool = True
    hears_us: bool = False
    follows_us: bool = False
    sound: bool = True
    followed: bool = False
    word_at: float = float("-inf")
    witnessed_at: float = float("-inf")
    given_up: bool = False
    ended_at: float = 0.0
    told_at: float = float("-inf")

    @property
    def gone(self) -> bool:
        return self.health is Health.LEFT

    @property
    def member(self) -> Member:
        return Member(self.id, self.health, self.incarnation, self.address, self.rank, self.fit)

    @property
    def row(self) -> Row:
        return Row(self.id, self.incarnation, self.address, self.rank, self.gone)

    def renew(self, incarnation: int, now: float) -> None:
        """It is back, as another process: what the old one said is void."""
        self.incarnation, self.seq, self.pulse = incarnation, -1, -1
        self.health, self.met, self.given_up = Health.SUSPECT, False, False
        self.standing, self.fit, self.hears_us, self.follows_us = True, True, False, False
        self.quiet_from = now

    def hear(self, head: Head, now: float) -> bool:
        """Take the facts of a message of the present incarnation; False if a newer one came before."""
        if head.seq <= self.seq:
            return False
        self.seq, self.pulse = head.seq, max(self.pulse, head.pulse)
        self.rank, self.fit, self.standing, self.hears_us = head.rank, head.fit, head.standing, head.heard
        self.met, self.given_up = True, False
        self.quiet_from = self.word_at = now
        self.health = Health.ALIVE
        return True

    def hear_of(self, claim: Claim, now: float) -> bool:
        """Take what another says of this leader; False if that is not news."""
        if claim.incarnation != self.incarnation or claim.pulse <= self.pulse or self.gone:
            return False
        self.pulse, self.word_at, self.given_up = claim.pulse, now, False
        return True

    def leave(self, now: float) -> None:
        self.health, self.ended_at, self.standing = Health.LEFT, now, False


class Roster:
    """The other members, by id."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._peers: dict[str, Peer] = {}
        self._turn = 0

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def get(self, node: str | None) -> Peer | None:
        return None if node is None else self._peers.get(node)

    @property
    def pace(self) -> int:
        """Every how many heartbeats a member that does not lead beats."""
        living = 1 + sum(peer.health in (Health.ALIVE, Health.SUSPECT) for peer in self)
        return -(-living // FULL_PACE_MAX)

    def add(self, row: Row, now: float) -> Peer | None:
        """Take what a table or a discovery says; the peer if it is new, or new again."""
        peer = self._peers.get(row.id)
        if peer is None:
            if row.left:
                return None
            peer = self._peers[row.id] = Peer(row.id, row.incarnation, now, row.address, row.rank)
            return peer
        if row.incarnation < peer.incarnation:
            return None
        peer.address = row.address or peer.address
        if row.incarnation > peer.incarnation:
            peer.renew(row.incarnation, now)
            peer.rank = row.rank
            if not row.left:
                return peer
        if row.left and not peer.gone:
            peer.leave(now)
        return None

    def judge(self, leader: str | None, now: float) -> None:
        """Bring every member's health up to date, and forget those that ended long ago. The leader does not die here:
        the elector gives it up when it has been silent for too long."""
        silence_s = self._timing.silence_s * self.pace
        for peer in self._peers.values():
            if peer.gone or (peer.health is Health.DEAD and peer.id != leader and not self._stirs(peer, now)):
                continue
            quiet_s = now - peer.quiet_from
            if peer.given_up:
                health = Health.DEAD
            elif peer.met and quiet_s < silence_s:
                health = Health.ALIVE
            elif peer.id == leader or quiet_s < SUSPICION * silence_s or self._stirs(peer, now):
                health = Health.SUSPECT
            else:
                health = Health.DEAD
            if health is Health.DEAD and peer.health is not health:
                peer.ended_at = now
            peer.health = health
        over = now - REMEMBERED * self._timing.interval_s
        for peer in [peer for peer in self if self._ended(peer) and peer.ended_at < over and peer.id != leader]:
            del self._peers[peer.id]

    @property
    def follows_us(self) -> bool:
        """Somebody whom we hear follows us."""
        return any(peer.follows_us and peer.health is Health.ALIVE for peer in self)

    def listen_anew(self, now: float) -> None:
        """We were away: nobody has been silent for longer than we have listened, and our followers may be another's."""
        for peer in self:
            peer.follows_us = False
            if not self._ended(peer):
                peer.quiet_from = peer.word_at = now

    def rows(self, now: float) -> tuple[Row, ...]:
        """What we tell others."""
        told = now - ADVERTISED * self._timing.interval_s
        return tuple(peer.row for peer in self if not (self._ended(peer) and peer.ended_at < told))

    def next_partner(self) -> Peer | None:
        """With whom to exchange tables now: everyone in turn, the dead as well, since they may be back."""
        partners = sorted((peer for peer in self if not peer.gone), key=lambda peer: peer.id)
        self._turn += 1
        return partners[self._turn % len(partners)] if partners else None

    def _stirs(self, peer: Peer, now: float) -> bool:
        """The store shows it alive."""
        return not (peer.gone or peer.given_up) and now - peer.witnessed_at < self._timing.member_witness_s

    @staticmethod
    def _ended(peer: Peer) -> bool:
        return peer.health in (Health.LEFT, Health.DEAD)
