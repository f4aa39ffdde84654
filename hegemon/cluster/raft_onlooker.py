"""A node that is no voter in a Raft cluster: it learns leader and term from the voters and moves nothing.

PySyncObj knows such nodes as read-only, to which a leader sends its log. An election has no log to send: an onlooker
greets the voters with a keepalive, and each voter answers with its own, which names the leader that it hears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hegemon.cluster.raft_frames import Keepalive, decode, electorate
from hegemon.cluster.raft_outgoing import Outgoing
from hegemon.cluster.raft_peers import KnownPeer, Periods, told_leader
from hegemon.cluster.raft_state import Durable
from hegemon.election.contract import Member, Observed, Role, Timing


class _Nowhere:
    """An onlooker has nothing to forget."""

    def load(self) -> Durable | None:
        return None

    def save(self, durable: Durable) -> None:
        """Nothing is kept."""


class RaftOnlooker:
    """The same calls as `RaftVoter`; it never stands, so that an abdication means nothing to it."""

    def __init__(
        self, me: Member, *, voters: Sequence[str], timing: Timing, post: Callable[[str, bytes], None], now: float
    ) -> None:
        self._me = me
        self._timing = timing
        self._periods = Periods.of(timing)
        self._electorate = electorate(voters)
        self._peers = {name: KnownPeer(name, now) for name in sorted(voters)}
        self._out = Outgoing(
            _Nowhere(), node=me.id, incarnation=me.incarnation, electorate=self._electorate, fit=me.fit, send=post
        )
        self._term = 0
        self._now = now

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was not taken or not sent, by reason."""
        return self._out.dropped

    def receive(self, sender: str, payload: bytes, now: float) -> None:
        """Take a voter's keepalive; anything else is dropped and counted."""
        self._now = now
        frame = decode(payload)
        peer = self._peers.get(sender)
        if frame is None:
            self._out.drop("unreadable")
        elif frame.voters != self._electorate:
            self._out.drop("voters")
        elif peer is None or not isinstance(frame.body, Keepalive):
            self._out.drop("stranger")
        elif not peer.take(frame, now, self._periods.patience_s):
            self._out.drop("old")

    def tick(self, now: float) -> None:
        """Greet the voters that are due."""
        self._now = now
        for peer in self._peers.values():
            if now - peer.spoken >= self._periods.keepalive_s:
                self._out.post(peer, Keepalive(None, self._me.rank), now)

    def deadline(self) -> float:
        """When `tick` wants to be called next."""
        due = min(peer.spoken + self._periods.keepalive_s for peer in self._peers.values())
        return max(due, self._now) + 0.0002

    def abdicate(self, reason: str, pause_s: float | None, now: float) -> None:
        """Nothing to give up."""

    def farewell(self, now: float) -> None:
        """Tell the voters that this node leaves."""
        self._out.leaving = True
        for peer in self._peers.values():
            self._out.post(peer, Keepalive(None, self._me.rank), now)

    def set_fit(self, fit: bool) -> None:
        """Whether this node reaches both stores."""
        self._out.fit = fit

    def observed(self, now: float) -> Observed:
        """Leader and term as the voters show them; the term never falls while this node runs."""
        within_s = self._periods.timeout_s[1]
        term = max((peer.term for peer in self._peers.values()), default=0)
        self._term, leader = told_leader(
            self._peers.values(), me=self._me.id, term=max(self._term, term), now=now, within_s=within_s
        )
        members = [Member(self._me.id, fit=self._out.fit, rank=self._me.rank, address=self._me.address, voter=False)]
        members += [peer.member(now, self._timing, voter=True) for peer in self._peers.values()]
        return Observed(Role.FOLLOWER, self._term, leader, False, tuple(sorted(members, key=lambda each: each.id)))
