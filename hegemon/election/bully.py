"""Bully (Garcia-Molina, "Elections in a Distributed Computing System", 1982): the highest of the living leads.

The paper's network is reliable and answers within a known time; ours is neither. So heartbeats stand in for its
questions after life and mode, every message carries its sender's whole belief (see ``bully_messages``), the store is a
second witness of life, and nothing harmful follows when two nodes believe to lead: the office decides (``contract``).

    listening ──nobody leads──> candidate ──nobody higher, or no answer──> leader
        │                        ^   │  ^                                    │
        │           leader silent│   │  └──answered, but no coordinator      │ a better claim, a higher node asks
        v                        │   v     in time, or it fell silent        v (preempt), unfit, OfficeLost, Resign
     follower <──a claim is heard┴───┴──────────────────────────── follower, or resigned for a pause, or for good

| what is trusted | until when |
|---|---|
| that the leader lives | its pulse (its own beats, or passed on) stands still for ``silence_s``, and the store has not
  shown it for ``witness_s`` |
| that a higher node will lead | no answer within 2 heartbeats (asked in each); it answered and falls silent, or
  ``timeout_s`` pass; it was named as successor and ``silence_s`` pass |
| at the start, that somebody may lead | 2 heartbeats with all expected peers; ``interval_s`` pass; a lower one asks |
| a claim to lead | a better one is heard: of one that kept the stores, that has followers, of higher term, of higher
  precedence, in this order. Precedence alone deposes nobody: who ranks higher *asks* the leader to hand over |
| what a peer says | an older incarnation said it, or (facts, signs of life) something newer came first |
| silence | only while we listen: after an absence of more than 2 heartbeats it is counted anew |

| failure | effect |
|---|---|
| leader killed | elected anew after ``silence_s``; 2 heartbeats more if the next in rank died with it |
| leader stopped and continued | the others elect; it yields to their higher term, and leads on if nobody was elected |
| leader cut off, store shows it | no election; it is suspect |
| another node cut off and back | if it could not see the leader in the store it elected itself, without stores or
  followers: it yields to the leader that the others kept |
| one-way or partial cut | beats pass the leader's pulse on: it is followed wherever any path leads from it. Where none
  does, that side elects; the leader yields if it hears of the higher term, else both believe, and the office decides |
| link that comes and goes | who lost the lead against its will asks no healthy leader to hand over for 20 intervals
  times such setbacks in the last 60, and from the second (office: first) on does not stand for 1, 2, 4, 8 intervals |
| answer, coordinator, hand-over lost | asked again; the next beat says the same; the successor gets a stream beside |
| message doubled, late, overtaken | no sign of life, its claim is ignored; a late request names a past term |
| node restarts within the silence | its new incarnation does not lead: an election at once |
| node taken for gone, or for older | it is told (once an interval), and takes an incarnation above |
| garbage, strangers | dropped |

Cost: with n <= 10 members n(n-1) datagrams of 30 to 100 bytes a heartbeat: at 100 ms 60/s for 3 nodes, 900/s for 10.
Above, those that do not lead beat every ceil(n/10) heartbeats. An election is at most 3(n-1) questions a candidate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from hegemon.election import bully_messages as wire
from hegemon.election.bully_belief import Belief, Voice, strength
from hegemon.election.bully_candidacy import Candidacy
from hegemon.election.bully_roster import Peer, Roster
from hegemon.election.contract import (
    Changed,
    Discovered,
    Effect,
    Event,
    Fitness,
    Health,
    Lost,
    Member,
    OfficeLost,
    Received,
    Resign,
    Role,
    Timing,
    View,
    Witnessed,
    Won,
    precedence,
)


class Bully:
    """One node's Bully. ``expected``: how many other nodes are named to it (CLUSTER_PEERS); with 0 it leads at once,
    else it first listens, for at most ``timing.interval_s``. ``preempt``: a higher node asks the leader to hand over;
    all nodes alike. Raises ValueError for an id or a rank that no message can carry."""

    def __init__(self, me: Member, *, timing: Timing, preempt: bool = True, expected: int = 1) -> None:
        if not 0 < len(me.id) <= wire.ID_MAX or abs(me.rank or 0) > wire.COUNT_MAX:
            raise ValueError(f"an id has 1 to {wire.ID_MAX} characters and a rank 62 bits, not {me.id!r}, {me.rank!r}")
        self._timing, self._preempt, self._expected = timing, preempt, expected
        self._own = Belief(replace(me, health=Health.ALIVE, fit=True), timing)
        self._roster = Roster(timing)
        self._voice = Voice(self._own, self._roster, self._is_witnessed)
        self._candidacy = Candidacy(self._own, self._roster, self._voice, self._is_rival)
        self._next_beat = self._next_exchange = math.inf
        self._next_request = -math.inf
        self._started = False
        self._lost: list[Effect] = []
        self._won: list[Effect] = []
        self._view = self._own.view(self._roster)

    # -- the contract --------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        return self._view

    def start(self, now: float) -> list[Effect]:
        if self._started:
            raise RuntimeError("this elector was started before")
        self._started, self._own.now = True, now
        self._next_beat, self._next_exchange = now + self._timing.heartbeat_s, now + self._timing.interval_s
        if self._expected > 0:
            self._candidacy.listen()
        self._advance(now)
        return self._effects()

    def handle(self, event: Event, now: float) -> list[Effect]:
        if not self._started:
            raise RuntimeError("this elector was not started")
        away_s, self._own.now = now - self._own.now, now
        if self._own.gone:
            return []
        if self._has_been_away(away_s):
            self._roster.listen_anew(now)
        self._take(event, now)
        if not self._own.gone:
            self._advance(now)
        return self._effects()

    def deadline(self) -> float | None:
        own, now = self._own, self._own.now
        if not self._started or own.gone:
            return None
        times = [self._next_beat, self._next_exchange, own.pause_until, own.hold_until, *self._candidacy.deadlines()]
        if own.leads and own.unfit_since is not None:
            times.append(own.unfit_since + self._timing.unfit_s)
        if (leader := self._roster.get(own.leader)) is not None:
            times += (leader.word_at + self._timing.silence_s, leader.witnessed_at + self._timing.witness_s)
        return min((time for time in times if now < time < math.inf), default=None)

    def _effects(self) -> list[Effect]:
        """What has come together, in the contract's order: Lost, Changed, Won, and only then what tells others."""
        view = self._own.view(self._roster)
        changed: list[Effect] = [] if view == self._view else [Changed(view)]
        effects = [*self._lost, *changed, *self._won, *self._voice.taken()]
        self._view, self._lost, self._won = view, [], []
        return effects

    # -- events --------------------------------------------------------------------------------------------------------

    def _take(self, event: Event, now: float) -> None:
        own = self._own
        match event:
            case Received(sender, payload):
                self._receive(sender, payload, now)
            case Discovered(member):
                row = wire.Row(member.id, member.incarnation, member.address, member.rank, left=False)
                if member.id != own.me.id:
                    self._meet((row,), now)
            case Witnessed(members):
                for peer in self._roster:
                    if peer.id in members and not peer.gone:
                        peer.witnessed_at, peer.given_up = now, False
            case Fitness(fit) if fit is not own.me.fit:
                own.take_fitness(fit)
            case OfficeLost(reason) if own.leads:
                own.set_back(strictly=True)
                self._stand_down(reason, self._best(), Role.FOLLOWER)
            case Resign(reason, pause_s):
                own.pause_until = math.inf if pause_s is None else now + max(0.0, pause_s)
                if own.leads or pause_s is None:
                    self._stand_down(reason, self._best(), Role.RESIGNED, leaving=pause_s is None)
                own.role = Role.RESIGNED
                self._candidacy.end()
            case _:  # a Tick, an office lost by one that does not lead, what a library observed
                pass

    def _receive(self, sender: str, payload: bytes, now: float) -> None:
        peer, message = self._roster.get(sender), wire.decode(payload)
        if peer is None or message is None:
            return
        head = message.head
        if self._is_outdated(peer, head.incarnation):
            if now - peer.told_at >= self._timing.interval_s:
                peer.told_at = now
                self._voice.tell_incarnation(peer)
            return
        if head.incarnation > peer.incarnation:
            self._forget_leader(peer)
            peer.renew(head.incarnation, now)
        self._own.term = max(self._own.term, head.term)
        if fresh := peer.hear(head, now):
            self._weigh(peer, head.claim, now)
        match message:
            case wire.Election(ballot=ballot):
                self._asked(peer, head, ballot, now)
            case wire.Answer(ballot=ballot):
                self._candidacy.answered(sender, ballot)
            case wire.Handover(successor=successor, leaving=leaving) if fresh:
                self._handed_over(peer, successor, leaving, now)
            case wire.Table(rows=rows, reply=reply):
                self._meet(rows, now)
                if reply:
                    self._voice.show_all(peer, reply=False)
            case _:  # a beat or a coordinator: the head has said it all
                pass

    def _weigh(self, sender: Peer, claim: wire.Claim | None, now: float) -> None:
        """Follow who claims to lead, if nobody does so better."""
        own = self._own
        sender.follows_us = claim is not None and claim.leader == own.me.id
        if claim is None or claim.leader != sender.id:
            self._forget_leader(sender)  # it says itself that it leads no more
        if claim is None or (chief := self._roster.get(claim.leader)) is None:
            return
        if chief is not sender and not self._is_news(chief, claim, now):
            return
        own.term = max(own.term, claim.term)
        chief.sound, chief.followed = claim.sound, claim.followed
        if own.leader == chief.id:
            own.leader_term = max(own.leader_term, claim.term)
        elif own.leader is None or strength(chief, claim.term) > own.strength(self._roster):
            if own.leads:
                own.set_back()
                self._lost.append(Lost(chief.id, f"{chief.id} leads in term {claim.term}"))
            own.role = Role.RESIGNED if own.role is Role.RESIGNED else Role.FOLLOWER
            own.leader, own.leader_term = chief.id, claim.term
            self._candidacy.end()

    def _is_news(self, chief: Peer, claim: wire.Claim, now: float) -> bool:
        """Whether a claim that is passed on shows its leader alive later than we knew."""
        if claim.incarnation > chief.incarnation:
            self._forget_leader(chief)
            chief.renew(claim.incarnation, now)
        if chief.hear_of(claim, now):
            return True
        if claim.witnessed and not self._own.me.fit and self._own.leader == chief.id:
            # Who reaches no store has no witness of its own, and takes the word of one that has for two heartbeats.
            chief.word_at = max(chief.word_at, now + 2 * self._timing.heartbeat_s - self._timing.silence_s)
        return False

    def _asked(self, peer: Peer, head: wire.Head, ballot: int, now: float) -> None:
        """One that we come before is answered; to one that comes before us, and follows us, the lead is handed over."""
        own = self._own
        if own.leads and precedence(peer.member) > precedence(own.me):
            claim = head.claim
            current = claim is not None and (claim.leader, claim.term) == (own.me.id, own.leader_term)
            if current and self._preempt and head.fit and head.standing:
                self._stand_down(f"{peer.id} has precedence", peer, Role.FOLLOWER)
        elif own.leads or (own.standing and self._key(own.me) > self._key(peer.member)):
            self._voice.say(peer, lambda head: wire.Answer(head, ballot))
            self._candidacy.listened()

    def _handed_over(self, peer: Peer, successor: str | None, leaving: bool, now: float) -> None:
        own = self._own
        if leaving:
            peer.leave(now)
        if own.leader is not None or own.role is Role.RESIGNED:
            return
        if successor == own.me.id and own.standing:
            self._win()
        elif successor is not None:
            self._candidacy.wait_for(successor)

    def _meet(self, rows: Iterable[wire.Row], now: float) -> None:
        """Take members that a table or the shell tells of. New ones are asked what they know and told to the others."""
        own, new = self._own, list[Peer]()
        for row in rows:
            if row.id == own.me.id:
                if row.incarnation > own.me.incarnation or (row.left and row.incarnation == own.me.incarnation):
                    own.me = replace(own.me, incarnation=min(row.incarnation + 1, wire.COUNT_MAX))
                continue
            if (peer := self._roster.add(row, now)) is not None:
                new.append(peer)
            known = self._roster.get(row.id)
            if known is not None and (known is peer or known.gone):
                self._forget_leader(known)
        for peer in self._roster if new else ():
            if peer in new:
                self._voice.show_all(peer, reply=True)
            elif peer.health is Health.ALIVE:
                self._voice.show(peer, tuple(other.row for other in new), reply=False)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Do what is due. Every event ends here, so that a late one is judged by the time that it is."""
        own = self._own
        if own.role is Role.RESIGNED and now >= own.pause_until:
            own.role = Role.FOLLOWER
        leader = self._roster.get(own.leader)
        if leader is not None and self._is_silent(leader, now):
            leader.given_up = True
            self._forget_leader(leader)
        self._roster.judge(own.leader, now)
        if own.leads:
            own.recover(self._roster.follows_us)
            self._mind_the_stores(now)
        elif own.leader is None and own.role is not Role.RESIGNED:
            if self._candidacy.wins(self._expected):
                self._win()
        elif leader is not None and now >= self._next_request and self._takes_over(leader, now):
            self._next_request = now + self._timing.interval_s
            self._voice.ask(leader, ballot=0)
        if now >= self._next_beat:
            self._next_beat = max(self._next_beat, now - self._timing.heartbeat_s / 2) + self._timing.heartbeat_s
            self._voice.beat()
        if now >= self._next_exchange:
            self._next_exchange = now + self._timing.interval_s
            if (partner := self._roster.next_partner()) is not None:
                self._voice.show_all(partner, reply=True)

    def _mind_the_stores(self, now: float) -> None:
        since = self._own.unfit_since
        if since is None or now < since + self._timing.unfit_s or self._won:
            return
        if (best := self._best()) is not None and best.fit:
            self._own.set_back()
            self._stand_down("it does not reach the stores", best, Role.FOLLOWER)

    def _win(self) -> None:
        own = self._own
        own.term += 1
        own.role, own.leader, own.leader_term = Role.LEADER, own.me.id, own.term
        self._candidacy.end()
        own.sound = own.me.fit
        if not own.sound:
            own.unfit_since = own.now
        self._won.append(Won(own.term))
        for peer in self._roster:
            self._voice.say(peer, wire.Coordinator)

    def _stand_down(self, reason: str, heir: Peer | None, role: Role, *, leaving: bool = False) -> None:
        """Leave the lead to ``heir``, if we have it; ``leaving``: and the cluster."""
        own = self._own
        heir = heir if own.leads else None
        named = None if heir is None else heir.id
        self._candidacy.end()
        if own.leads:
            self._lost.append(Lost(named, reason))
            own.leader = None
        if named is not None:
            self._candidacy.wait_for(named)
        own.role = role
        if leaving:
            own.me, own.leader = replace(own.me, health=Health.LEFT), None
        for peer in self._roster:
            self._voice.say(peer, lambda head: wire.Handover(head, named, leaving), surely=peer is heir)

    def _forget_leader(self, peer: Peer) -> None:
        if self._own.leader == peer.id:
            self._own.leader = None

    def _is_silent(self, leader: Peer, now: float) -> bool:
        return now >= leader.word_at + self._timing.silence_s and not self._is_witnessed(leader)

    def _best(self) -> Peer | None:
        """Who should lead after us."""
        living = [peer for peer in self._roster if peer.health is Health.ALIVE and peer.standing]
        return max(living, key=lambda peer: self._key(peer.member), default=None)

    # -- rules: tests replace them one by one, and must then fail ------------------------------------------------------

    def _is_rival(self, peer: Peer) -> bool:
        """It may be alive, would stand, and comes before us."""
        living = peer.health in (Health.ALIVE, Health.SUSPECT)
        return living and peer.standing and self._key(peer.member) > self._key(self._own.me)

    def _key(self, member: Member) -> tuple[bool, tuple[int, tuple[tuple[int, int, str], ...]]]:
        """The highest of wins: who reaches the stores comes before who does not."""
        return (member.fit, precedence(member))

    def _takes_over(self, leader: Peer, now: float) -> bool:
        """Whether to ask a healthy leader, with which we talk both ways, to hand over."""
        own = self._own
        asks = self._preempt and own.me.fit and own.standing and now >= own.calm_until
        talks = leader.hears_us and leader.health is Health.ALIVE
        return asks and talks and precedence(own.me) > precedence(leader.member)

    def _is_outdated(self, peer: Peer, incarnation: int) -> bool:
        return incarnation < peer.incarnation or (peer.gone and incarnation == peer.incarnation)

    def _is_witnessed(self, leader: Peer) -> bool:
        return self._own.now < leader.witnessed_at + self._timing.witness_s

    def _has_been_away(self, away_s: float) -> bool:
        return away_s > 2 * self._timing.heartbeat_s
