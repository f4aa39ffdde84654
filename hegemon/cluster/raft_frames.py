"""What the nodes of a Raft cluster say to each other, as MessagePack with a closed schema.

PySyncObj hands its transport plain dictionaries, and its own transport would pickle them. Here each message that it
needs has a type, whatever else it might send or be sent has none, and so nothing that comes from outside is ever
unpickled. In particular a log entry carries no command: every entry is the no-op with which a leader begins its term.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from hegemon.election.contract import DATAGRAM_MAX

# PySyncObj's own code for a no-op: the type of command, and no command.
NO_OP: Final = b"\x01"

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Rank = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]


class Keepalive(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Sent on links that are otherwise idle, and to onlookers. ``leader`` is whom the sender heard just now, itself if
    its leadership is confirmed; it belongs to the term of the frame."""

    leader: Name | None = None
    rank: Rank | None = None


class PreVote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Would you vote for me in this term? (thesis 9.6)"""

    term: Count


class PreVoteReply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """I would, or I would not."""

    term: Count
    granted: bool


class RequestVote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Vote for me in this term (thesis 3.4)."""

    term: Count
    last_index: Count
    last_term: Count


class Vote(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """You have my vote in this term; nobody else gets it."""

    term: Count


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """The leader's heartbeat and log. ``entries`` are (index, term) pairs: see the module."""

    term: Count
    commit: Count
    previous_index: Count
    previous_term: Count
    entries: Annotated[list[tuple[Count, Count]], msgspec.Meta(max_length=16)]


class NextIndex(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """The answer to AppendEntries. It names no term, so it counts only in the term of its frame."""

    next: Count
    reset: bool
    success: bool


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=8):
    """The leader hands over: stand at once (thesis 3.10)."""

    term: Count


Body = Keepalive | PreVote | PreVoteReply | RequestVote | Vote | AppendEntries | NextIndex | TimeoutNow
# What PySyncObj takes for granted to come in order and once.
ORDERED: Final = (RequestVote, Vote, AppendEntries, NextIndex, TimeoutNow)


class Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One message with what all of them carry: ``voters`` is `electorate` of the sender's CLUSTER_PEERS, ``session``
    grows with each start of the sender, ``number`` with each frame to this receiver, ``term`` is the sender's."""

    voters: Count
    session: Count
    number: Count
    term: Count
    fit: bool
    blank: bool
    left: bool
    body: Body


_decoder: Final = msgspec.msgpack.Decoder(Frame)
_encoder: Final = msgspec.msgpack.Encoder()


def electorate(voters: Iterable[str]) -> int:
    """A number by which nodes see that their lists of voters are alike."""
    return zlib.crc32("\n".join(sorted(voters)).encode())


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    return _encoder.encode(frame)


def decode(payload: bytes) -> Frame | None:
    """The frame of some bytes; None if they are none, or more than any frame needs (looked at before they are read)."""
    if len(payload) > DATAGRAM_MAX:
        return None
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def from_library(message: dict[str, Any]) -> Body | None:
    """A message of PySyncObj's for the wire; None for those that an election does not need (commands, snapshots,
    entries in parts), which thereby never leave."""
    match message:
        case {"type": "request_vote", "term": term, "last_log_index": index, "last_log_term": last_term}:
            return RequestVote(term, index, last_term)
        case {"type": "response_vote", "term": term}:
            return Vote(term)
        case {
            "type": "append_entries",
            "term": term,
            "commit_index": commit,
            "entries": entries,
            "prevLogIdx": int(index),
            "prevLogTerm": int(previous_term),
        } if all(command == NO_OP for command, _, _ in entries):
            return AppendEntries(term, commit, index, previous_term, [(i, t) for _, i, t in entries])
        case {"type": "next_node_idx", "next_node_idx": index, "reset": reset, "success": success}:
            return NextIndex(index, reset, success)
        case {"type": "timeout_now", "term": term}:
            return TimeoutNow(term)
        case _:
            return None


def to_library(body: Body) -> dict[str, Any] | None:
    """The message that PySyncObj understands; None for what is between our drivers only."""
    match body:
        case RequestVote(term, index, last_term):
            return {"type": "request_vote", "term": term, "last_log_index": index, "last_log_term": last_term}
        case Vote(term):
            return {"type": "response_vote", "term": term}
        case AppendEntries(term, commit, index, previous_term, entries):
            return {
                "type": "append_entries",
                "term": term,
                "commit_index": commit,
                "entries": [(NO_OP, i, t) for i, t in entries],
                "prevLogIdx": index,
                "prevLogTerm": previous_term,
            }
        case NextIndex(index, reset, success):
            return {"type": "next_node_idx", "next_node_idx": index, "reset": reset, "success": success}
        case TimeoutNow(term):
            return {"type": "timeout_now", "term": term}
        case _:
            return None
