"""What one node knows of another in Raft: its life, its last frame, when it was heard, what it says of itself.

PySyncObj takes a connection that keeps order for granted, and counts a vote each time it comes. Datagrams are lost,
doubled, late and overtaken, so of the messages that move the algorithm each must be newer than the last one taken.
A frame of an earlier life of the sender is refused likewise; should a node come back with a lower session number (its
disk and its clock both lost), it is believed once its other life has been silent for ``patience_s``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hegemon.cluster.raft_frames import ORDERED, Frame, Keepalive
from hegemon.election.contract import Health, Member, Timing


@dataclass(frozen=True, slots=True)
class Periods:
    """What Raft makes of `Timing`, in seconds. With the defaults: election timeouts of 0.4 to 0.6, a leader believes
    for 0.35 without its majority, keepalives each 0.2. On a network where a round trip takes longer than a heartbeat,
    raise ELECTION_HEARTBEAT above it, and the silence with it."""

    heartbeat_s: float
    silence_s: float
    timeout_s: tuple[float, float]
    keepalive_s: float
    patience_s: float

    @classmethod
    def of(cls, timing: Timing) -> Periods:
        """Raises ValueError if a single late heartbeat would count as a silence."""
        if timing.silence_s <= timing.heartbeat_s:
            raise ValueError("silence_s must be longer than heartbeat_s, or a leader is missed between two heartbeats")
        shortest = max(timing.silence_s + timing.heartbeat_s / 2, 3.5 * timing.heartbeat_s)
        return cls(
            timing.heartbeat_s, timing.silence_s, (shortest, 1.5 * shortest), 2 * timing.heartbeat_s, timing.timeout_s
        )


class KnownPeer:
    """One other node, as its frames show it. Times are seconds of the driver's clock."""

    def __init__(self, id: str, now: float) -> None:  # noqa: A002 - the field's name
        self.id = id
        self.heard = -math.inf
        self.term = 0
        self.fit = True
        self.blank = False
        self.left = False
        self.rank: int | None = None
        self.leader: str | None = None
        self.leader_at = -math.inf
        self.spoken = -math.inf
        self._since = now
        self._session = 0
        self._number = 0
        self._sent = 0

    def next_number(self, now: float) -> int:
        """The number of the next frame to it; counts as having spoken."""
        self.spoken = now
        self._sent += 1
        return self._sent

    def take(self, frame: Frame, now: float, patience_s: float) -> bool:
        """Note what the frame says; False if it belongs to the past and must not be acted upon."""
        if frame.session < self._session and now - self.heard <= patience_s:
            return False
        if frame.session != self._session:
            self._session, self._number = frame.session, 0
            self.leader = None
        if isinstance(frame.body, ORDERED):
            if frame.number <= self._number:
                return False
            self._number = frame.number
        self.heard, self.term = now, max(self.term, frame.term)
        self.fit, self.blank, self.left = frame.fit, frame.blank, frame.left
        if isinstance(frame.body, Keepalive):
            self.rank, self.leader, self.leader_at = frame.body.rank, frame.body.leader, now
            self.term = frame.term
        return True

    def health(self, now: float, timing: Timing) -> Health:
        """Alive while its keepalives come, then suspect, and dead after ``timeout_s`` of silence."""
        if self.left:
            return Health.LEFT
        silence = now - max(self.heard, self._since)
        if silence > timing.timeout_s:
            return Health.DEAD
        # More than two keepalives, which come half as often as heartbeats; and no more, so that a new leader doubts the
        # one that it succeeds from its first dispatch on.
        heard = self.heard > -math.inf and silence <= 1.3 * timing.silence_s
        return Health.ALIVE if heard else Health.SUSPECT

    def member(self, now: float, timing: Timing, *, voter: bool) -> Member:
        """It as a member for display and for the choice of a successor."""
        return Member(self.id, self.health(now, timing), rank=self.rank, fit=self.fit, voter=voter)


def told_leader(
    peers: Iterable[KnownPeer], *, me: str, term: int, now: float, within_s: float
) -> tuple[int, str | None]:
    """The latest term from ``term`` on in which others said within ``within_s`` seconds whom they hear as leader, and
    that leader; (``term``, None) if none did. For a node that cannot hear the leader itself."""
    claims = (
        (peer.term, peer.leader)
        for peer in peers
        if peer.leader is not None and peer.leader != me and peer.term >= term and now - peer.leader_at <= within_s
    )
    return max(claims, default=(term, None))
