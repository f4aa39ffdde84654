"""What SWIM's members tell each other, as msgpack arrays with a number in front. The sender stands in no message: the
transport has proved who it is.

| message | by | asks or says |
|---|---|---|
| Ping | datagram; stream as the last resort | are you there? |
| Ack | as the Ping came | I am; from a helper: the one you asked about is |
| PingRequest | datagram | ping that member for me (SWIM, 3.1) |
| Nack | datagram | I am there, but have no answer from it yet (Lifeguard, LHA-Probe) |
| News | datagram | only what is piggybacked |
| State | stream | all that I believe; a digest in front spares reading what is known already |

Ping, Ack, PingRequest and News carry facts (SWIM, 4.1). A fact about a member is its health under an incarnation.
"""

from __future__ import annotations

from typing import Annotated, Final
from zlib import crc32

import msgspec

from hegemon.election.contract import Health, Member

INCARNATION_MAX: Final = 1 << 53
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Number = Annotated[int, msgspec.Meta(ge=0, le=INCARNATION_MAX)]
Rank = Annotated[int, msgspec.Meta(ge=-INCARNATION_MAX, le=INCARNATION_MAX)]


class Fact(msgspec.Struct, frozen=True, array_like=True):
    """What somebody believes of a member. ``by`` names the one who suspects it, so that confirmations are counted
    once each; empty in all but suspicions."""

    id: Id
    health: Health
    incarnation: Number
    address: Annotated[str, msgspec.Meta(max_length=255)] = ""
    rank: Rank | None = None
    fit: bool = True
    by: Annotated[str, msgspec.Meta(max_length=255)] = ""

    def member(self) -> Member:
        """The same for those outside."""
        return Member(self.id, self.health, self.incarnation, self.address, self.rank, self.fit)


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """``seq`` is the prober's own number for the probe."""

    seq: Number
    facts: tuple[Fact, ...] = ()


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answers the Ping or the PingRequest with this number."""

    seq: Number
    facts: tuple[Fact, ...] = ()


class PingRequest(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Asks for an Ack with ``seq`` once ``target`` has answered the receiver."""

    seq: Number
    target: Id
    facts: tuple[Fact, ...] = ()


class Nack(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The helper lives and has no answer yet."""

    seq: Number


class News(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Facts on their own."""

    facts: tuple[Fact, ...]


class State(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The whole table, the sender first. ``answer`` asks for the receiver's in return."""

    digest: int
    answer: bool
    facts: msgspec.Raw


SwimMessage = Ping | Ack | PingRequest | Nack | News | State

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[SwimMessage]] = msgspec.msgpack.Decoder(
    Ping | Ack | PingRequest | Nack | News | State
)
_facts: Final = msgspec.msgpack.Decoder(tuple[Fact, ...])


def encode(message: msgspec.Struct | tuple[Fact, ...]) -> bytes:
    """As bytes for the transport."""
    return _encoder.encode(message)


def decode(payload: bytes) -> SwimMessage | None:
    """The message, or None if this is none."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def decode_facts(raw: msgspec.Raw) -> tuple[Fact, ...]:
    """The facts of a State; empty if they cannot be read, since one that is wrong makes all doubtful."""
    try:
        return _facts.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()


def checksum(fact: Fact) -> int:
    """Its part in a State's digest, which is the exclusive or of all of them."""
    return crc32(_encoder.encode(fact))
