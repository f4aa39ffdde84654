"""News waits here to be piggybacked: each piece goes out a bounded number of times, what was sent least goes first, and
a newer piece about a member takes the place of the older (SWIM, 4.1)."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from hegemon.election.swim_messages import Fact, encode


class _Piece:
    __slots__ = ("fact", "sent", "size")

    def __init__(self, fact: Fact) -> None:
        self.fact = fact
        self.size = len(encode(fact))
        self.sent = 0


_sent: Final = attrgetter("sent")


class Dissemination:
    """The queue of one member."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: dict[str, _Piece] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, fact: Fact) -> None:
        """Spread this, and no longer what was said of the same member before."""
        self.drop(fact.id)
        self._pieces[fact.id] = piece = _Piece(fact)
        self._size += piece.size

    def drop(self, member: str) -> None:
        """Say no more about it."""
        if old := self._pieces.pop(member, None):
            self._size -= old.size

    def take(self, room: int, limit: int) -> tuple[Fact, ...]:
        """What fits into ``room`` bytes; what has gone out ``limit`` times is done."""
        if not self._pieces:
            return ()
        pieces = list(self._pieces.values())
        if self._size > room:
            pieces.sort(key=_sent)
        taken: list[Fact] = []
        for piece in pieces:
            if piece.size > room:
                continue
            room -= piece.size
            taken.append(piece.fact)
            piece.sent += 1
            if piece.sent >= limit:
                self.drop(piece.fact.id)
        return tuple(taken)
