"""One voter of a Raft cluster, without thread or socket: PySyncObj with what an election in production needs around it.

States of the driver's own, beside PySyncObj's follower, candidate and leader:

| state | begins | meanwhile | ends |
|---|---|---|---|
| blank | no state on disk | follows and learns terms; gives no vote, no pre-vote, does not stand | told the term that the office's document records, and besides: every other voter heard, or a majority blank like it (a first start), or ``timeout_s`` after the start; then it goes on above all these terms |
| asking | the election deadline passed | asks all voters for pre-votes, again and again; its term stands still | a majority (itself counted) would vote: stands. A leader is heard, or a vote given: follows |
| handing over | abdication of a leader | keeps leading, asks the best successor to stand | another term; after ``2 * heartbeat_s`` it just steps down |
| paused | abdication | votes, follows, never stands | its time is over |

What is trusted, until when:

| what | until |
|---|---|
| that the leader lives (no pre-vote is given) | ``silence_s`` after its last heartbeat, or until it asks for a pre-vote itself |
| a pre-vote given to us | the shortest election timeout, in the same term |
| that we lead | a later term is heard of, or a majority has not answered for ``silence_s``. The stores trust the epoch alone |
| a peer's fitness | its next frame |
| the term that the office's document records | the end of blankness, before which it is told anew; who kept its disk does not ask for it |

| failure | effect |
|---|---|
| cut off from the majority | a leader stands down within ``silence_s``; a follower asks in vain and its term does not grow, so that it deposes nobody when it returns (thesis 9.6) |
| one-way cuts, hubs | whoever reaches a majority both ways may win; who does not, asks in vain. Logs are never behind (`hegemon.cluster.raft_library`) |
| a node whose term is ahead of a living leader's | its frames carry its term, the leader enters it and stands down (thesis 3.3): nobody stays deaf to a leader |
| doubled, late, overtaken frames | dropped (`hegemon.cluster.raft_peers`); a vote counts once for each voter |
| the disk refuses the term or the vote | nothing leaves this node until it is saved: to the others it is silent |
| killed between saving and sending | a vote that nobody counts |
| disk lost | blank, see above |
| MongoDB away from a blank voter | it stays blank; nobody else without MongoDB takes the office either |
| stopped and continued | deadlines have passed, so it asks first; a leader finds its majority silent and stands down |
"""  # noqa: E501 - table rows

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from hegemon.cluster import raft_library
from hegemon.cluster.raft_frames import (
    AppendEntries,
    Body,
    Frame,
    Keepalive,
    NextIndex,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
    decode,
    electorate,
    from_library,
    to_library,
)
from hegemon.cluster.raft_library import Library
from hegemon.cluster.raft_outgoing import Outgoing
from hegemon.cluster.raft_peers import KnownPeer, Periods, told_leader
from hegemon.cluster.raft_state import Storage
from hegemon.election.contract import Health, Member, Observed, Randomness, Role, Timing, precedence

log = structlog.get_logger(__name__)

ONLOOKERS_MAX: Final = 256
# PySyncObj compares strictly, so a tick comes a moment after what it is for.
_MOMENT_S: Final = 0.0002


class RaftVoter:
    """Not for several threads. ``post(to, payload)`` sends; ``now`` of every call is `raft_library.clock`.

    ``prevote`` is for tests that show what its absence does. Raises RaftStateError if the state on
    disk cannot be relied on.
    """

    def __init__(
        self,
        me: Member,
        *,
        voters: Sequence[str],
        timing: Timing,
        storage: Storage,
        rng: Randomness,
        post: Callable[[str, bytes], None],
        now: float,
        prevote: bool = True,
    ) -> None:
        self._me = me
        self._timing = timing
        self._periods = Periods.of(timing)
        self._rng = rng
        self._prevote = prevote
        self._electorate = electorate(voters)
        self._out = Outgoing(
            storage, node=me.id, incarnation=me.incarnation, electorate=self._electorate, fit=me.fit, send=post
        )
        self._majority = len(voters) // 2 + 1
        self._peers = {name: KnownPeer(name, now) for name in sorted(voters) if name != me.id}
        self._onlookers: dict[str, KnownPeer] = {}
        self._now = self._started = now
        self._asking = False
        self._grants: dict[str, float] = {}
        self._ballots: set[str] = set()
        self._led_by: str | None = None
        self._led_at = -math.inf
        self._paused_until = -math.inf
        self._handing_until: float | None = None
        self._handing_next = 0.0
        self._asked_to_stand = False
        self._recorded: int | None = None
        self._library = Library(
            me.id,
            list(self._peers),
            term=self._out.durable.term,
            vote=self._out.durable.vote,
            heartbeat_s=self._periods.heartbeat_s,
            timeout_s=self._periods.timeout_s,
            fallback_s=self._periods.silence_s,
            post=self._relay,
            changed=self._entered,
        )
        drawn = self._library.take_deadline()
        assert drawn is not None  # noqa: S101 - a new library has drawn one
        self._deadline = drawn

    # -- what goes out -------------------------------------------------------------------------------------------------

    def _entered(self, term: int, vote: str | None) -> None:
        if term > self._out.durable.term:  # a leader of an earlier term is none
            self._led_by, self._led_at = None, -math.inf
        self._out.note(term, vote)

    def _relay(self, to: str, message: dict[str, Any]) -> None:
        body = from_library(message)
        if body is None:
            self._out.drop("unsendable")
        else:
            self._post(self._peers[to], body)

    def _post(self, peer: KnownPeer, body: Body) -> None:
        self._out.post(peer, body, self._now)

    def _keepalive(self) -> Keepalive:
        return Keepalive(self._leader(self._periods.silence_s), self._me.rank)

    def farewell(self, now: float) -> None:
        """Tell everybody that this node leaves."""
        self._now, self._out.leaving = now, True
        for peer in (*self._peers.values(), *self._onlookers.values()):
            self._post(peer, self._keepalive())

    # -- what comes in -------------------------------------------------------------------------------------------------

    def receive(self, sender: str, payload: bytes, now: float) -> None:
        """Take a frame; one that cannot be read, is old or comes from nobody known is dropped and counted."""
        self._now = now
        frame = decode(payload)
        if frame is None:
            return self._out.drop("unreadable")
        if frame.voters != self._electorate:
            if "voters" not in self._out.dropped:
                log.error("raft_other_voters", node=self._me.id, peer=sender, hint="CLUSTER_PEERS must name the same")
            return self._out.drop("voters")
        if sender not in self._peers:
            return self._greet(sender, frame)
        peer = self._peers[sender]
        if not peer.take(frame, now, self._periods.patience_s):
            return self._out.drop("old")
        if frame.term > self._library.term:
            self._library.adopt(frame.term, sender)
        self._hear(peer, frame)
        self._note_deadline()
        return None

    def _greet(self, sender: str, frame: Frame) -> None:
        """An onlooker asks to be told. What it says moves nothing."""
        if not isinstance(frame.body, Keepalive) or sender == self._me.id:
            return self._out.drop("stranger")
        if sender not in self._onlookers:
            if len(self._onlookers) >= ONLOOKERS_MAX:
                return self._out.drop("stranger")
            self._onlookers[sender] = KnownPeer(sender, self._now)
        self._onlookers[sender].take(frame, self._now, self._periods.patience_s)
        return None

    def _hear(self, peer: KnownPeer, frame: Frame) -> None:
        term = self._library.term
        match frame.body:
            case PreVote(proposed):
                self._post(peer, PreVoteReply(proposed, self._would_vote(peer, proposed)))
            case PreVoteReply(proposed, granted):
                if granted and self._asking and proposed == term + 1:
                    self._grants[peer.id] = self._now
            case RequestVote(asked) if self.blank or asked <= self._out.durable.floor:
                self._out.drop("blank")  # we may have voted in it, before our disk was lost
            case Vote(given) if given != term or peer.id in self._ballots:
                self._out.drop("vote")
            case NextIndex() if frame.term != term:
                self._out.drop("answer")  # it names no term, and may answer an earlier leadership of ours
            case TimeoutNow() if self._resting() or self.blank:
                self._out.drop("handed")
            case AppendEntries(sent) | RequestVote(sent) if sent < term:
                self._post(peer, self._keepalive())  # it is behind, and learns the term from this
            case body:
                self._pass_on(peer, body)

    def _pass_on(self, peer: KnownPeer, body: Body) -> None:
        message = to_library(body)
        if message is None:
            return
        if isinstance(body, Vote):
            self._ballots.add(peer.id)
        if isinstance(body, AppendEntries):
            self._led_by, self._led_at = peer.id, self._now
        self._library.hear(peer.id, message)

    def _would_vote(self, peer: KnownPeer, proposed: int) -> bool:
        """Thesis 9.6, and 4.2.3 for the time since a leader was heard. Logs are alike in every new term. A leader that
        asks has given up leading, so that its own last heartbeat is no reason to refuse it."""
        if self.blank or proposed <= max(self._library.term, self._out.durable.floor):
            return False
        if self._library.state == raft_library.LEADER:
            return False
        return self._now - self._led_at > self._periods.silence_s or self._led_by == peer.id

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was not taken or not sent, by reason."""
        return self._out.dropped

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due. Call it after frames were received, and when `deadline` has come."""
        self._now = now
        self._admit()
        self._guard()
        term = self._library.term
        self._library.doTick(0.0)
        stood = self._library.term > term
        self._note_deadline()
        if stood and self._library.state == raft_library.CANDIDATE:
            # A tie is settled sooner than by a whole timeout: only candidates wait here, and each round trip fits.
            self._deadline = now + self._periods.heartbeat_s * (1.5 + 2.5 * self._rng.random())
        self._hand_over()
        self._keep_alive()

    def deadline(self) -> float:
        """When `tick` wants to be called next, at the latest."""
        dues = [peer.spoken + self._periods.keepalive_s for peer in self._peers.values()]
        dues += [peer.spoken + self._periods.keepalive_s for peer in self._onlookers.values()]
        dues.append(self._deadline)
        if self._library.state == raft_library.LEADER:
            dues[-1] = min(self._library.heartbeat_due(), self._library.fallback_due())
            if self._handing_until is not None:
                dues.append(self._handing_next)
        return max(min(dues), self._now) + _MOMENT_S

    def _note_deadline(self) -> None:
        """Keep the deadline that PySyncObj drew: it heard a leader, gave its vote, stood, or was asked to stand."""
        drawn = self._library.take_deadline()
        if drawn is None:
            return
        self._asked_to_stand = drawn == 0.0
        self._deadline = max(drawn, self._now)
        self._asking = False
        self._grants.clear()

    def _guard(self) -> None:
        """Let PySyncObj stand only when a majority would vote for us, or the leader asked us to (thesis 3.10)."""
        if self._library.state == raft_library.LEADER:
            self._deadline = self._now + self._periods.heartbeat_s  # for when it stops leading
            return
        fresh = self._now - self._periods.timeout_s[0]
        votes = 1 + sum(at > fresh for at in self._grants.values())
        due = self._now >= self._deadline
        if self._resting() or self.blank:
            if due:
                self._asking = False
                self._deadline = self._now + self._periods.timeout_s[0]
        elif self._asked_to_stand or (due and not self._prevote) or ((self._asking or due) and votes >= self._majority):
            self._stand()
        elif due:
            self._asking = True
            self._deadline = self._now + self._periods.heartbeat_s * (1 + self._rng.random())
            for peer in self._peers.values():
                self._post(peer, PreVote(self._library.term + 1))

    def _stand(self) -> None:
        self._asked_to_stand = False
        self._ballots.clear()
        self._library.stand()

    def _resting(self) -> bool:
        """Whether this node stays out: paused, or not fit while a fit voter is alive."""
        if self._now < self._paused_until:
            return True
        return not self._out.fit and any(peer.fit and self._alive(peer) for peer in self._peers.values())

    def _alive(self, peer: KnownPeer) -> bool:
        return peer.health(self._now, self._timing) is Health.ALIVE

    def _admit(self) -> None:
        """End blankness once a second vote in a term can do no harm. Whoever we may have voted for before has entered
        that term, so when all are heard we know it; when a majority begins anew, no vote of theirs counts any more.
        After ``timeout_s`` no count of votes from before can still be going on. Who won by such a vote and is away now
        has left its term with the office, which outlives all disks, or never took it.
        """
        if not self.blank or self._recorded is None:
            return
        heard = [peer for peer in self._peers.values() if peer.heard > -math.inf]
        blank = 1 + sum(peer.blank for peer in heard)
        late = self._now - self._started >= self._timing.timeout_s
        if len(heard) == len(self._peers) or blank >= self._majority or late:
            if self._recorded > self._library.term:
                self._library.adopt(self._recorded, self._me.id)
            self._out.admit(self._library.term)

    def _keep_alive(self) -> None:
        for peer in self._peers.values():
            if self._now - peer.spoken >= self._periods.keepalive_s:
                self._post(peer, self._keepalive())
        for id_, onlooker in list(self._onlookers.items()):
            if self._now - onlooker.heard > self._timing.timeout_s or onlooker.left:
                del self._onlookers[id_]
            elif self._now - onlooker.spoken >= self._periods.keepalive_s:
                self._post(onlooker, self._keepalive())

    # -- giving up -----------------------------------------------------------------------------------------------------

    def abdicate(self, reason: str, pause_s: float | None, now: float) -> None:
        """Hand the leadership over if we have it, and stay out for ``pause_s`` seconds (None: for good)."""
        self._now = now
        self._paused_until = max(self._paused_until, math.inf if pause_s is None else now + pause_s)
        self._asking = self._asked_to_stand = False
        if self._library.state == raft_library.LEADER:
            self._handing_until, self._handing_next = now + 2 * self._periods.heartbeat_s, now
            self._hand_over()

    def set_fit(self, fit: bool) -> None:
        """Whether this node reaches both stores; the peers hear it with the next frame."""
        self._out.fit = fit

    @property
    def blank(self) -> bool:
        """Whether it has no past, and takes no part yet."""
        return self._out.durable.blank

    def set_recorded(self, term: int) -> None:
        """The office was last taken in this term, by its document; 0 if it never was. A blank voter waits for it."""
        self._recorded = max(self._recorded or 0, term)

    def _hand_over(self) -> None:
        if self._handing_until is None:
            return
        if self._library.state != raft_library.LEADER:
            self._handing_until = None
        elif self._now >= self._handing_next:
            fit = [peer for peer in self._peers.values() if peer.fit and self._alive(peer)]
            ready = sorted(fit, key=lambda peer: precedence(Member(peer.id, rank=peer.rank)), reverse=True)
            asked = any(self._library.hand_to(peer.id) for peer in ready[:1]) or any(
                self._library.hand_to(peer.id) for peer in ready[1:]
            )
            if self._now >= self._handing_until or not ready:
                self._library.step_down()
                self._handing_until = None
            # Asked again, in case it was lost; sooner if nobody has our no-op yet.
            self._handing_next = self._now + self._periods.heartbeat_s / (2 if asked else 10)

    # -- what it shows -------------------------------------------------------------------------------------------------

    def _leader(self, within_s: float) -> str | None:
        if self._library.confirmed:
            return self._me.id
        if self._library.state == raft_library.LEADER or self._now - self._led_at > within_s:
            return None
        return self._led_by

    def observed(self, now: float) -> Observed:
        """What it has come to. A leadership is confirmed only if the disk has its term."""
        self._now = now
        term, confirmed = self._library.term, self._library.confirmed and self._out.kept()
        leader = self._me.id if confirmed else self._leader(self._periods.timeout_s[1])
        if leader is None:
            within_s = self._periods.timeout_s[1]
            _, leader = told_leader(self._peers.values(), me=self._me.id, term=term, now=now, within_s=within_s)
        role = Role.LEADER if self._library.state == raft_library.LEADER else Role.FOLLOWER
        if role is Role.FOLLOWER and (self._asking or self._library.state == raft_library.CANDIDATE):
            role = Role.CANDIDATE
        members = [Member(self._me.id, fit=self._out.fit, rank=self._me.rank, address=self._me.address)]
        members += [peer.member(now, self._timing, voter=True) for peer in self._peers.values()]
        members += [peer.member(now, self._timing, voter=False) for peer in self._onlookers.values()]
        return Observed(role, term, leader, confirmed, tuple(sorted(members, key=lambda member: member.id)))
