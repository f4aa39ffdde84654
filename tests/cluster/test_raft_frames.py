"""Raft's frames have a closed schema; no path leads from the network to pickle."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.cluster.raft_frames import (
    NO_OP,
    AppendEntries,
    Body,
    Frame,
    Keepalive,
    NextIndex,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
    decode,
    electorate,
    encode,
    from_library,
    to_library,
)
from hegemon.election.contract import DATAGRAM_MAX
from tests.cluster.raft_network import RaftNetwork

MOST = 1 << 53
BODIES: list[Body] = [
    Keepalive("n" * 128, -MOST),
    PreVote(3),
    PreVoteReply(3, True),
    RequestVote(3, 2, 1),
    Vote(3),
    AppendEntries(MOST, MOST, MOST, MOST, [(MOST, MOST)] * 16),
    NextIndex(2, True, False),
    TimeoutNow(3),
]


def framed(body: Body) -> Frame:
    return Frame(MOST, MOST, MOST, MOST, True, False, False, body)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_a_frame_is_read_as_it_was_written_and_the_largest_fits_a_datagram(body: Body) -> None:
    payload = encode(framed(body))
    assert decode(payload) == framed(body)
    assert len(payload) <= DATAGRAM_MAX


@pytest.mark.parametrize("body", BODIES[3:], ids=lambda body: type(body).__name__)
def test_what_pysyncobj_says_comes_out_as_pysyncobj_said_it(body: Body) -> None:
    message = to_library(body)
    assert message is not None
    assert from_library(message) == body


@given(st.binary(max_size=200))
def test_garbage_is_no_frame(payload: bytes) -> None:
    assert decode(payload) is None or encode(decode(payload)) == payload  # type: ignore[arg-type] # not None here


@pytest.mark.parametrize(
    "payload",
    [
        encode(framed(Vote(3))) + b"\0",
        encode(framed(Vote(3)))[:-1],
        encode(framed(Vote(-1))),
        encode(framed(Vote(MOST + 1))),
        encode(framed(AppendEntries(1, 1, 1, 1, [(1, 1)] * 17))),
        encode(framed(Keepalive("n" * 129))),
        b"\x00" * (DATAGRAM_MAX + 1),
        pickle.dumps({"type": "request_vote"}),
    ],
)
def test_what_is_cut_long_negative_or_pickled_is_no_frame(payload: bytes) -> None:
    assert decode(payload) is None


@pytest.mark.parametrize(
    "message",
    [
        {"type": "apply_command", "command": b"\x00evil"},
        {"type": "append_entries", "term": 1, "commit_index": 1, "serialized": (b"pickle", True, True)},
        {
            "type": "append_entries",
            "transmission": "finish",
            "data": b"pickle",
            "term": 1,
            "commit_index": 1,
            "prevLogIdx": 1,
            "prevLogTerm": 0,
        },
        {
            "type": "append_entries",
            "term": 1,
            "commit_index": 1,
            "entries": [(b"\x00pickle", 2, 1)],
            "prevLogIdx": 1,
            "prevLogTerm": 0,
        },
    ],
)
def test_commands_snapshots_and_parts_have_no_frame(message: dict[str, object]) -> None:
    assert from_library(message) is None


def test_entries_come_in_as_no_ops_whatever_the_sender_had_in_mind() -> None:
    message = to_library(AppendEntries(1, 1, 1, 0, [(2, 1)]))
    assert message is not None
    assert message["entries"] == [(NO_OP, 2, 1)]


def test_a_cluster_elects_and_fails_over_without_a_pickle_or_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("pickled, or opened a socket")

    for name in ("pysyncobj.pickle.loads", "pysyncobj.pickle.load", "pysyncobj.pickle.dumps", "pysyncobj.pickle.dump"):
        monkeypatch.setattr(name, never)
    monkeypatch.setattr("socket.socket", never)
    net = RaftNetwork(3)
    with net.running():
        net.crash(net.settle())
        net.run(400.0)  # beyond the time after which PySyncObj would compact its log by pickling
        assert net.leader() is not None


def test_lists_of_voters_are_alike_in_any_order_and_unlike_otherwise() -> None:
    assert electorate(["n1", "n2"]) == electorate(["n2", "n1"]) != electorate(["n1", "n2", "n3"])
