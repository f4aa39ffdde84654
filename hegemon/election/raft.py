"""Raft as the rest of Hegemon sees it: a mapping of what PySyncObj has come to onto the electors' contract.

The algorithm runs in `hegemon.cluster.raft_driver`, which reports `Observed` and carries out `Abdicate`. This elector
decides what a report means for the office:

======================================  ==============================================================================
observed                                means
======================================  ==============================================================================
leader, not yet confirmed               candidate: a leadership counts once an entry of its own has committed in its
                                        term (thesis 3.6.2, 6.4)
leader, confirmed, in a later term      Won(term), once for each term
the same again                          still leading, if it still is; nothing if it gave this term up
anything else                           Lost, if it was leading
======================================  ==============================================================================

It gives a leadership up, with `Abdicate`, when the office is lost, when it resigns, and when it has been without a
store for ``unfit_s`` while a fit voter is alive. The library then hands over (thesis 3.10) and stays out for
``interval_s``.
Election timeouts, votes and the quorum are the library's; `Received` is for the driver, and `Witnessed` only shows that
a silent member is alive, since Raft succeeds nobody without a majority.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hegemon.election.contract import (
    Abdicate,
    Changed,
    Discovered,
    Effect,
    Event,
    Fitness,
    Health,
    Lost,
    Member,
    Observed,
    OfficeLost,
    Resign,
    Role,
    Timing,
    View,
    Witnessed,
    Won,
)


class RaftElector:
    """``voters`` are the NODE_IDs that vote; a node that is none of them never leads. ``view.term`` is Raft's."""

    def __init__(self, me: Member, *, voters: Sequence[str], timing: Timing) -> None:
        self._me = replace(me, voter=me.id in voters)
        self._timing = timing
        others = (Member(name, Health.SUSPECT) for name in voters if name != me.id)
        self._observed = Observed(Role.FOLLOWER, 0, None, False, (self._me, *others))
        self._met: dict[str, Member] = {}
        self._witnessed: dict[str, float] = {}
        self._started = False
        self._now = 0.0
        self._leading = False
        self._term = 0  # of the last Won
        self._resigned_until: float | None = None
        self._unfit_since: float | None = None if me.fit else 0.0
        self._view = self._see()

    @property
    def view(self) -> View:
        return self._view

    def start(self, now: float) -> list[Effect]:
        if self._started:
            raise RuntimeError("this elector was started before")
        self._started = True
        self._now = now
        if self._unfit_since is not None:
            self._unfit_since = now
        return []

    def deadline(self) -> float | None:
        dues = [at + self._timing.member_witness_s for at in self._witnessed.values()]
        if self._leading and self._unfit_since is not None:
            dues.append(self._unfit_since + self._timing.unfit_s)
        dues = [due for due in dues if due > self._now]  # what is past has been acted on, or waits for news
        if self._resigned_until is not None and self._resigned_until < math.inf:
            dues.append(self._resigned_until)
        return min(dues, default=None)

    def handle(self, event: Event, now: float) -> list[Effect]:
        if not self._started:
            raise RuntimeError("this elector was not started")
        self._now = now
        if self._resigned_until is not None and now >= self._resigned_until:
            self._resigned_until = None
        match event:
            case Observed() if event.term >= self._observed.term:
                self._observed = event
            case Discovered(member):
                self._met[member.id] = member
            case Witnessed(members):
                fresh = now - self._timing.member_witness_s
                kept = {name: at for name, at in self._witnessed.items() if at > fresh}
                self._witnessed = kept | dict.fromkeys(members, now)
            case Fitness(fit):
                self._unfit_since = None if fit else (now if self._unfit_since is None else self._unfit_since)
            case OfficeLost(reason) if self._leading:
                return self._stand_down(reason)
            case Resign(reason, pause_s):
                return self._resign(reason, pause_s)
            case _:  # the driver hears the peers
                pass
        return self._settle()

    def _settle(self) -> list[Effect]:
        """Win, lose, or stand down for want of a store, as things are now."""
        effects: list[Effect] = []
        seen = self._observed
        leads = seen.role is Role.LEADER and seen.confirmed and self._me.voter
        if self._leading and not (leads and seen.term == self._term):
            successor = seen.leader if seen.leader != self._me.id else None
            effects += self._lose(successor, "another leads" if successor else "no majority answers, or a later term")
        if leads and seen.term > self._term and self._resigned_until is None:
            self._leading, self._term = True, seen.term
            return [*effects, *self._change(), Won(seen.term)]
        if self._leading and self._too_long_unfit() and self._fit_voter_alive():
            return effects + self._stand_down("without a store for too long, and another reaches both")
        return effects + self._change()

    def _too_long_unfit(self) -> bool:
        return self._unfit_since is not None and self._now >= self._unfit_since + self._timing.unfit_s

    def _fit_voter_alive(self) -> bool:
        members = self._members()
        return any(m.voter and m.fit and m.health is Health.ALIVE for m in members if m.id != self._me.id)

    def _lose(self, leader: str | None, reason: str) -> list[Effect]:
        self._leading = False
        return [Lost(leader, reason), *self._change()]

    def _stand_down(self, reason: str) -> list[Effect]:
        """Stop leading in this term, and let another have the next."""
        return [*self._lose(None, reason), Abdicate(reason, self._timing.interval_s)]

    def _resign(self, reason: str, pause_s: float | None) -> list[Effect]:
        # To leave for good is final: a step-down with a pause that arrives later must not bring the node back.
        if self._resigned_until == math.inf:
            return self._settle()
        self._resigned_until = math.inf if pause_s is None else self._now + max(0.0, pause_s)
        lost = self._lose(None, reason) if self._leading else self._change()
        return [*lost, Abdicate(reason, pause_s)]

    # -- the view ------------------------------------------------------------------------------------------------------

    def _change(self) -> list[Effect]:
        view = self._see()
        if view == self._view:
            return []
        self._view = view
        return [Changed(view)]

    def _see(self) -> View:
        seen = self._observed
        leader = self._me.id if self._leading else seen.leader
        if leader == self._me.id and not self._leading:
            leader = None
        return View(leader=leader, term=seen.term, role=self._role(), members=tuple(self._members()))

    def _role(self) -> Role:
        if self._leading:
            return Role.LEADER
        if self._resigned_until is not None:
            return Role.RESIGNED
        seen = self._observed
        standing = seen.role is Role.CANDIDATE or (seen.role is Role.LEADER and seen.term > self._term)
        return Role.CANDIDATE if standing else Role.FOLLOWER

    def _members(self) -> Iterable[Member]:
        """As the driver sees them, with what discovery and the store know of them; those it does not see as well."""
        seen = {self._me.id: self._me} | {member.id: member for member in self._observed.members}
        for name in sorted(seen.keys() | self._met.keys()):
            met = self._met.get(name)
            member = seen.get(name) or replace(self._met[name], health=Health.SUSPECT, voter=False)
            if name == self._me.id:
                member = replace(self._me, health=Health.ALIVE, fit=self._unfit_since is None)
            elif met is not None:
                rank = met.rank if member.rank is None else member.rank
                member = replace(member, address=met.address, incarnation=met.incarnation, rank=rank)
            at = self._witnessed.get(name, -math.inf)
            if member.health is Health.DEAD and self._now - at < self._timing.member_witness_s:
                member = replace(member, health=Health.SUSPECT)  # cut off from us
            yield member
