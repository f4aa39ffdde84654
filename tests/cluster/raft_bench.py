"""One voter of five, PySyncObj in its middle, and frames of the other four made by hand."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager

from hegemon.cluster.raft_frames import Body, Frame, PreVoteReply, decode, electorate, encode
from hegemon.cluster.raft_library import CANDIDATE
from hegemon.cluster.raft_state import Durable
from hegemon.cluster.raft_voter import RaftVoter
from hegemon.election.contract import Member, Timing
from tests.cluster.raft_network import Disk, virtual_time

VOTERS = ("n1", "n2", "n3", "n4", "n5")


class Bench:
    """One voter of five, and frames of the others made by hand."""

    def __init__(self, term: int = 4) -> None:
        self.now = 1000.0
        self.rng = random.Random(1)
        self.sent: list[tuple[str, Body]] = []
        self.disk = Disk()
        self.disk.content = Durable(term=term, blank=False, session=1)
        self._numbers = dict.fromkeys(VOTERS, 0)
        with self.in_time():
            self.voter = RaftVoter(
                Member("n1"),
                voters=VOTERS,
                timing=Timing(),
                storage=self.disk,
                rng=random.Random(1),
                post=self._post,
                now=self.now,
            )
        self.library = self.voter._library

    def in_time(self) -> AbstractContextManager[None]:
        """Whatever PySyncObj does meanwhile happens now."""
        return virtual_time(lambda: self.now, self.rng)

    def _post(self, to: str, payload: bytes) -> None:
        frame = decode(payload)
        assert frame is not None
        self.sent.append((to, frame.body))

    def hear(self, sender: str, term: int, body: Body, *, number: int | None = None, session: int = 1) -> None:
        self._numbers[sender] += 1
        count = self._numbers[sender] if number is None else number
        frame = Frame(electorate(VOTERS), session, count, term, True, False, False, body)
        with self.in_time():
            self.voter.receive(sender, encode(frame), self.now)

    def stand(self) -> int:
        """Let it come to be a candidate by pre-votes; returns the term."""
        self.now += 1.0
        self.tick()
        term = self.library.term
        for peer in ("n2", "n3"):
            self.hear(peer, term, PreVoteReply(term + 1, True))
        self.tick()
        assert self.library.state == CANDIDATE
        return self.library.term

    def tick(self) -> None:
        with self.in_time():
            self.voter.tick(self.now)

    def abdicate(self, pause_s: float | None = None) -> None:
        with self.in_time():
            self.voter.abdicate("SIGTERM", pause_s, self.now)

    def said(self, kind: type[Body]) -> list[str]:
        return [to for to, body in self.sent if isinstance(body, kind)]
