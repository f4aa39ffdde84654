"""What a Bully node does while nobody leads: it listens, awaits a successor that was named, or stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hegemon.election.bully_belief import Belief, Voice
from hegemon.election.bully_roster import Peer, Roster
from hegemon.election.contract import Health, Role


@dataclass(slots=True)
class Ballot:
    """One candidacy: whom we asked, and who answered."""

    number: int
    asked: frozenset[str]
    answer_by: float
    coordinator_by: float
    ask_again: float
    answered: set[str] = field(default_factory=set)


class Candidacy:
    """The way to a leader. ``is_rival`` says who is asked before we lead."""

    def __init__(self, own: Belief, roster: Roster, voice: Voice, is_rival: Callable[[Peer], bool]) -> None:
        self._own, self._roster, self._voice, self._is_rival = own, roster, voice, is_rival
        self._ballot: Ballot | None = None
        self._awaited: tuple[str, float] | None = None
        self._listen_until: float | None = None
        self._count = 0

    def listen(self) -> None:
        """At the start: hear first whether somebody leads."""
        self._listen_until = self._own.now + self._own.timing.interval_s

    def listened(self) -> None:
        """A lower node asks who leads: so nobody does, as far as it knows."""
        self._listen_until = None

    def wait_for(self, successor: str) -> None:
        """The leader that goes has named its successor."""
        self._ballot = None
        self._awaited = (successor, self._own.now + self._own.timing.silence_s)

    def answered(self, sender: str, ballot: int) -> None:
        """A node that comes before us is there. An answer to an earlier ballot says nothing about now."""
        if self._ballot is not None and ballot == self._ballot.number:
            self._ballot.answered |= self._ballot.asked & {sender}

    def end(self) -> None:
        """Somebody leads, or we stand no more."""
        self._ballot = self._awaited = self._listen_until = None

    def deadlines(self) -> Iterator[float]:
        if self._listen_until is not None:
            yield self._listen_until
        if self._awaited is not None:
            yield self._awaited[1]
        if self._ballot is not None:
            yield from (self._ballot.answer_by, self._ballot.coordinator_by, self._ballot.ask_again)

    def wins(self, expected: int) -> bool:
        """Go on with it while nobody leads; True when it is ours to lead."""
        now, ballot = self._own.now, self._ballot
        if self._is_listening(expected) or self._is_awaiting():
            return False
        if not self._own.standing:
            self._own.role, self._ballot = Role.FOLLOWER, None
            return False
        if ballot is None or self._is_void(ballot):
            return self._stand()
        if not ballot.answered and now >= ballot.ask_again and now < ballot.answer_by:
            self._ask(ballot)
        return not ballot.answered and now >= ballot.answer_by

    def _is_listening(self, expected: int) -> bool:
        if self._listen_until is None:
            return False
        if sum(peer.met for peer in self._roster) >= expected:
            self._listen_until = min(self._listen_until, self._own.now + 2 * self._own.timing.heartbeat_s)
        if self._own.now >= self._listen_until:
            self._listen_until = None
        return self._listen_until is not None

    def _is_awaiting(self) -> bool:
        if self._awaited is not None:
            peer = self._roster.get(self._awaited[0])
            if peer is None or peer.health is not Health.ALIVE or self._own.now >= self._awaited[1]:
                self._awaited = None
        return self._awaited is not None

    def _is_void(self, ballot: Ballot) -> bool:
        """Those who answered fell silent or stand no more, or none of them came to lead in time."""
        answered = [peer for peer in self._roster if peer.id in ballot.answered]
        hopeful = any(peer.health is Health.ALIVE and self._is_rival(peer) for peer in answered)
        return bool(ballot.answered) and (not hopeful or self._own.now >= ballot.coordinator_by)

    def _stand(self) -> bool:
        rivals = frozenset(peer.id for peer in self._roster if self._is_rival(peer))
        if not rivals:
            return True
        self._count += 1
        answer_by = self._own.now + 2 * self._own.timing.heartbeat_s
        coordinator_by = max(answer_by, self._own.now + self._own.timing.timeout_s)
        self._ballot = Ballot(self._count, rivals, answer_by, coordinator_by, self._own.now)
        self._own.role = Role.CANDIDATE
        self._ask(self._ballot)
        return False

    def _ask(self, ballot: Ballot) -> None:
        ballot.ask_again = self._own.now + self._own.timing.heartbeat_s
        for peer in self._roster:
            if peer.id in ballot.asked:
                self._voice.ask(peer, ballot.number)
