"""What Gossip's nodes tell each other about the leader, beside SWIM's own messages. As there, the transport has proved
who the sender is.

| message | from | to | says |
|---|---|---|---|
| Beat | leader | all, or relays that pass it on | I lead in this term; the n-th time |
| Ask | who has not heard the leader for a while | who may have | what do you know of the leader? |
| Vouch | anyone | who asked, claimed, or leads in a lower term | the leader's latest beat that I know of, and its age |
| Claim | who misses the leader | all | I would lead in this term |
| Grant | who misses it too; who has a new leader | the claimant; the leader | lead; I follow |
| HandOver | leader that stands down | all; by stream too to the successor | my term is over, this one is next |
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from hegemon.election.swim_messages import Ack, Id, Nack, News, Number, Ping, PingRequest, State, SwimMessage


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """``count`` numbers the beats of a term, so that a late or doubled one is no sign of life. ``company``: somebody
    follows. ``pass_on`` names those whom the receiver should give it to."""

    term: Number
    leader: Id
    count: Number
    company: bool
    pass_on: tuple[Id, ...] = ()


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Answered by Vouch, if there is anything to say."""


class Vouch(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """What is known of the leader: its beat number ``count`` reached us, through ``hops`` others, ``age_s`` ago.
    ``leader`` is None if only the term is known."""

    term: Number
    leader: Id | None
    count: Number = 0
    age_s: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 0.0
    hops: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    company: bool = False


class Claim(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """The sender stands for this term."""

    term: Number


class Grant(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """The sender follows the receiver in this term, or will."""

    term: Number


class HandOver(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """The sender's term is over. ``successor`` may win the next at once; None: whoever is best."""

    term: Number
    successor: Id | None


LeaderMessage = Beat | Ask | Vouch | Claim | Grant | HandOver
Message = SwimMessage | LeaderMessage

_decoder: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(
    Ping | Ack | PingRequest | Nack | News | State | Beat | Ask | Vouch | Claim | Grant | HandOver
)


def decode(payload: bytes) -> Message | None:
    """The message, SWIM's or ours, or None if this is none."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
