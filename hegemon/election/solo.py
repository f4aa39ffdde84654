"""The elector that always elects itself: for a cluster of one node, and the trivial choice for tests.

It runs the whole contract, so a lone node goes through the same office, epoch and fence as one of many. Should two
Solo nodes share their stores by mistake, both believe to lead, and the office still lets only one of them schedule.
"""

from __future__ import annotations

from hegemon.election.contract import (
    Changed,
    Effect,
    Event,
    Lost,
    Member,
    OfficeLost,
    Resign,
    Role,
    Tick,
    View,
    Won,
)


class Solo:
    """Leads from the start, in term 1. After a lost office it stands again ``retry_s`` seconds later (default 1), since
    nobody else would; after Resign when its pause is over, or never. Each time in a new term."""

    def __init__(self, node_id: str, *, retry_s: float = 1.0) -> None:
        if not retry_s > 0:
            raise ValueError(f"retry_s must be more than 0 seconds, not {retry_s!r}")
        self._members = (Member(node_id),)
        self._node_id = node_id
        self._retry_s = retry_s
        self._started = False
        self._stand_at: float | None = None
        self._view = View(leader=None, term=0, role=Role.FOLLOWER, members=self._members)

    @property
    def view(self) -> View:
        return self._view

    def deadline(self) -> float | None:
        return self._stand_at

    def start(self, now: float) -> list[Effect]:
        if self._started:
            raise RuntimeError("this elector was started before")
        self._started = True
        return self._win()

    def handle(self, event: Event, now: float) -> list[Effect]:
        if not self._started:
            raise RuntimeError("this elector was not started")
        match event:
            case Tick() if self._stand_at is not None and now >= self._stand_at:
                return self._win()
            case OfficeLost(reason) if self._view.role is Role.LEADER:
                self._stand_at = now + self._retry_s
                return self._stand_down(Role.FOLLOWER, reason)
            case Resign(reason, pause_s):
                return self._resign(reason, None if pause_s is None else now + max(0.0, pause_s))
            case _:  # there is nobody to hear from, and an office lost when not leading is no news
                return []

    def _win(self) -> list[Effect]:
        self._stand_at = None
        term = self._view.term + 1
        return [*self._change(self._node_id, term, Role.LEADER), Won(term)]

    def _resign(self, reason: str, until: float | None) -> list[Effect]:
        # To leave for good is final: a step-down with a pause that arrives later must not bring the node back.
        if self._view.role is Role.RESIGNED and self._stand_at is None:
            return []
        self._stand_at = until
        return self._stand_down(Role.RESIGNED, reason)

    def _stand_down(self, role: Role, reason: str) -> list[Effect]:
        lost: list[Effect] = [Lost(None, reason)] if self._view.role is Role.LEADER else []
        return lost + self._change(None, self._view.term, role)

    def _change(self, leader: str | None, term: int, role: Role) -> list[Effect]:
        view = View(leader=leader, term=term, role=role, members=self._members)
        if view == self._view:
            return []
        self._view = view
        return [Changed(view)]
