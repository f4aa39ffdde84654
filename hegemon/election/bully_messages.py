"""What Bully nodes say to each other, as bytes: the paper's three messages, heartbeats, hand-over, member table.

A payload is one version byte and a MessagePack array. Every message opens with the same `Head`, so that whichever of
them arrives tells the whole of what its sender believes, and one that is lost is made good by the next. Fields may be
appended to an array without a new version; a reader passes over those that it does not know.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

VERSION: Final = 1
COUNT_MAX: Final = 1 << 62
ID_MAX: Final = 255

Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Rank = Annotated[int, msgspec.Meta(ge=-COUNT_MAX, le=COUNT_MAX)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_MAX)]


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """That ``leader`` leads in ``term``: the sender's own claim, or one that it has heard and passes on. ``pulse`` is
    the newest heartbeat of that leader that the sender knows of: a claim passed on is news only if it has moved.
    ``sound``: it has reached the stores ever since it won; ``followed``: it hears somebody who follows it.
    ``witnessed``: the sender has itself just seen the leader's counter move in the store."""

    leader: Id
    incarnation: Count
    term: Count
    pulse: Count
    sound: bool
    followed: bool
    witnessed: bool = False


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The sender's facts. ``seq`` grows with every message of an incarnation, ``pulse`` with every heartbeat; ``term``
    is the highest it knows; ``standing``: it would stand in an election now; ``heard``: it hears the receiver."""

    incarnation: Count
    seq: Count
    pulse: Count
    term: Count
    rank: Rank | None
    fit: bool
    standing: bool
    heard: bool
    claim: Claim | None


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One member in a `Table`."""

    id: Id
    incarnation: Count
    address: Annotated[str, msgspec.Meta(max_length=ID_MAX)]
    rank: Rank | None
    left: bool


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """I am here (ARE-YOU-UP and ARE-YOU-NORMAL of the paper, answered without being asked)."""

    head: Head


class Election(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """To a node of higher precedence: I would lead, are you there? To a leader of lower precedence: hand over to me."""

    head: Head
    ballot: Count


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """I am here and come before you; wait for a coordinator. ``ballot`` is that of the `Election` answered."""

    head: Head
    ballot: Count


class Coordinator(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """I lead: the head's claim says in which term."""

    head: Head


class Handover(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """I lead no more. ``successor`` should lead at once; ``leaving``: I do not come back under this incarnation."""

    head: Head
    successor: Id | None
    leaving: bool


class Table(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The members that the sender knows, or the new ones among them. ``reply``: send yours."""

    head: Head
    rows: tuple[Row, ...]
    reply: bool


Message = Beat | Election | Answer | Coordinator | Handover | Table

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The payload of a message."""
    return bytes((VERSION,)) + _encoder.encode(message)


def decode(payload: bytes) -> Message | None:
    """The message of a payload; None if it cannot be read: another version, not an array of ours, out of bounds."""
    if payload[:1] != bytes((VERSION,)):
        return None
    try:
        return _decoder.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
