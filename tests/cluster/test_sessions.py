"""Sessions in virtual time: who is believed, and that recorded frames are worth nothing."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.cluster import sessions as module
from hegemon.cluster.frames import DATAGRAM_FRAME_MAX, NOBODY, Keys, Kind, Sealer
from hegemon.cluster.sessions import (
    CHALLENGE_S,
    HANDSHAKE_BYTES,
    PROOF_S,
    RENEW_S,
    SILENT_S,
    WINDOW,
    Facts,
    Introduction,
    Sessions,
    Verdict,
    Window,
)
from hegemon.election.contract import Member

KEYS = Keys.from_secrets("c", "a secret")


class Node:
    """Sessions with their facts; every frame that it sent is kept in `sent`, as a listener on the wire would."""

    def __init__(self, name: str, keys: Keys = KEYS) -> None:
        self.facts = Facts.of(Member(name, address=f"{name}:1"), "1")
        self.sessions = Sessions(name, keys)
        self.sent: list[bytes] = []

    def take(self, frame: bytes, now: float, *, stream: bool = False) -> Verdict:
        verdict = self.sessions.receive(frame, lambda: self.facts, now, stream=stream)
        if verdict.reply is not None:
            self.sent.append(verdict.reply)
        return verdict

    def hello(self, now: float, place: int = 0) -> bytes:
        self.sent.append(self.sessions.hello(self.facts, now, place))
        return self.sent[-1]

    def say(self, to: "Node", payload: bytes, now: float, *, stream: bool = False) -> bytes:
        frame = self.sessions.seal(to.facts.id, payload, now, stream=stream)
        assert frame is not None
        self.sent.append(frame)
        return frame

    def knows(self, other: "Node") -> bool:
        peer = self.sessions.peers.get(other.facts.id)
        return peer is not None and peer.boot == other.sessions.boot


def reply(verdict: Verdict) -> bytes:
    assert verdict.reply is not None, verdict
    return verdict.reply


def meet(a: Node, b: Node, now: float) -> None:
    """The whole handshake, begun by `a`."""
    welcome = reply(b.take(a.hello(now), now))
    assert b.take(reply(a.take(welcome, now)), now).proven is not None


def pair(now: float = 100.0) -> tuple[Node, Node]:
    a, b = Node("a"), Node("b")
    meet(a, b, now)
    return a, b


def snapshot(node: Node) -> object:
    peers = node.sessions.peers.values()
    return [(p.facts, p.boot, p.proven_at, p.confirmed_at, p.heard_at) for p in peers], len(node.sessions._retired)


def test_three_frames_prove_two_nodes_to_each_other() -> None:
    a, b = Node("a"), Node("b")
    asked = b.take(a.hello(1.0, place=7), 1.0)
    assert not b.sessions.peers  # a HELLO may be a recorded one
    answered = a.take(reply(asked), 1.1)
    assert (answered.proven is not None, answered.news, answered.place) == (True, True, 7)
    assert b.take(reply(answered), 1.2).news
    assert a.knows(b)
    assert b.knows(a)
    assert b.take(a.say(b, b"x", 1.3), 1.3) == Verdict(sender="a", payload=b"x")
    assert a.take(b.say(a, b"y", 1.3, stream=True), 1.3, stream=True) == Verdict(sender="b", payload=b"y")


def test_an_answer_is_never_larger_than_what_asked_for_it() -> None:
    a, b = Node("a"), Node("b")
    b.facts = Facts.of(Member("b" * 200, address="h" * 200 + ":1"), "9" * 60)
    hello = a.hello(1.0)
    welcome = reply(b.take(hello, 1.0))
    confirm = reply(a.take(welcome, 1.0))
    assert len(hello) == len(welcome) == len(confirm) == HANDSHAKE_BYTES <= DATAGRAM_FRAME_MAX


def test_facts_that_do_not_fit_are_refused_when_they_are_said() -> None:
    with pytest.raises(ValueError, match="too long"):
        Introduction(Facts("n" * 255, 0, None, "é" * 300, "1", True), b"", b"").encode()


def test_a_payload_before_the_proof_is_dropped_and_its_sender_is_asked() -> None:
    a, b = Node("a"), Node("b")
    a.take(reply(b.take(a.hello(1.0), 1.0)), 1.0)  # CONFIRM is lost
    assert b.take(a.say(b, b"x", 1.0), 1.0) == Verdict(dropped="unknown_peer", ask=True)
    meet(b, a, 2.0)
    assert b.take(a.say(b, b"x", 2.0), 2.0).payload == b"x"


@pytest.mark.parametrize("stream", [False, True])
def test_a_payload_is_delivered_once(stream: bool) -> None:
    a, b = pair()
    frame = a.say(b, b"x", 101.0, stream=stream)
    assert b.take(frame, 101.0, stream=stream).payload == b"x"
    assert b.take(frame, 101.0, stream=stream).dropped == "replayed"
    assert b.take(frame, 101.0, stream=not stream).dropped == "garbage"


def test_frames_out_of_order_are_taken_within_the_window_and_no_further() -> None:
    a, b = pair()
    frames = [a.say(b, b"x", 101.0) for _ in range(WINDOW + 2)]
    assert b.take(frames[-1], 101.0).payload == b"x"
    assert [b.take(frame, 101.0).dropped for frame in frames[:2]] == ["replayed"] * 2
    assert all(b.take(frame, 101.0).payload == b"x" for frame in reversed(frames[2:-1]))


@given(st.lists(st.one_of(st.integers(1, 3000), st.integers(2**63, 2**64 - 1)), max_size=60))
def test_the_window_takes_each_counter_at_most_once_and_every_new_one_in_reach(counters: list[int]) -> None:
    window, taken, top = Window(1), {1}, 1
    for counter in counters:
        assert window.take(counter) is (counter not in taken and counter > top - WINDOW)
        taken.add(counter)
        top = max(top, counter)


def test_what_was_meant_for_another_node_is_not_delivered() -> None:
    a, b = pair()
    c = Node("c")
    meet(a, c, 100.5)
    assert b.take(a.say(c, b"for c", 101.0), 101.0).dropped == "stale_boot"


def test_a_recorded_session_moves_nothing_in_the_same_receiver() -> None:
    a, b = pair()
    for n in range(20):
        b.take(a.say(b, b"%d" % n, 101.0, stream=n % 2 == 0), 101.0, stream=n % 2 == 0)
    before = snapshot(b)
    for now in (101.0, 104.0, 1000.0):
        for frame in (*a.sent, *b.sent):
            for stream in (False, True):
                verdict = b.take(frame, now, stream=stream)
                assert verdict.payload is None
                assert verdict.proven is None
                assert verdict.reply is None or len(verdict.reply) <= len(frame)
    assert snapshot(b) == before


def test_a_recorded_session_moves_nothing_in_a_restarted_receiver() -> None:
    a, b = pair()
    for n in range(20):
        b.take(a.say(b, b"%d" % n, 101.0), 101.0)
    restarted = Node("b")
    for frame in (*a.sent, *b.sent):
        verdict = restarted.take(frame, 101.1)
        assert verdict.payload is None
        assert verdict.proven is None
        assert verdict.reply is None or len(verdict.reply) <= len(frame)
    assert not restarted.sessions.peers
    assert not restarted.sessions._boots


def test_a_new_boot_supersedes_the_old_one_and_the_old_one_is_heard_no_more() -> None:
    a, b = pair()
    late, again = a.say(b, b"late", 101.0), a.hello(101.0)
    restarted = Node("a")
    welcome = reply(b.take(restarted.hello(102.0), 102.0))
    assert b.knows(a)  # not yet: that HELLO could have been a recorded one
    assert b.take(reply(restarted.take(welcome, 102.0)), 102.0).news
    assert b.knows(restarted)
    assert b.take(late, 102.0).dropped == "stale_boot"
    assert b.take(again, 102.0).dropped == "stale_boot"


def test_a_withheld_proof_of_a_dead_boot_does_not_supersede_its_successor() -> None:
    dead, alive, b = Node("a"), Node("a"), Node("b")
    welcome_for_b = reply(dead.take(b.hello(100.0), 100.0))
    confirm = reply(dead.take(reply(b.take(dead.hello(100.0), 100.0)), 100.0))
    meet(alive, b, 101.0)
    assert b.take(welcome_for_b, 101.1).dropped == "stale_boot"
    assert b.take(confirm, 101.1).dropped == "stale_boot"
    assert b.knows(alive)


def test_a_proof_is_taken_while_its_challenge_is_young() -> None:
    a, b = Node("a"), Node("b")
    welcome = reply(b.take(a.hello(100.0), 100.0))
    assert a.take(welcome, 100.0 + CHALLENGE_S + 0.1).dropped == "stale_boot"
    assert a.take(welcome, 100.0 + CHALLENGE_S - 0.1).proven is not None


def test_a_challenge_cannot_be_made_by_another_member() -> None:
    a, b = Node("a"), Node("b")
    stranger = Sealer(KEYS.sending, os.urandom(16))
    for returned in (b"", b"x" * 28, b.sessions._challenges.make(b"hello", 100.0)):
        said = Introduction(b.facts, b"", returned).encode()
        assert a.take(stranger.seal(Kind.WELCOME, a.sessions.boot, said), 100.0).dropped == "stale_boot"


def test_a_session_ends_unless_its_proof_is_renewed_which_keeps_its_window() -> None:
    a, b = pair(100.0)
    old = a.say(b, b"old", 101.0)
    assert b.take(old, 101.0).payload == b"old"
    assert b.take(a.say(b, b"x", 101.0), 100.0 + PROOF_S + 1) == Verdict(dropped="unknown_peer", ask=True)
    assert a.sessions.seal("b", b"x", 100.0 + PROOF_S + 1) is None
    meet(a, b, 140.0)
    assert b.take(old, 140.0).dropped == "replayed"
    assert b.take(a.say(b, b"new", 140.0), 140.0).payload == b"new"


def test_a_peer_is_asked_again_when_it_is_silent_or_its_proof_ages() -> None:
    a, b = pair(100.0)
    assert b.sessions.ask_at("a") == 100.0 + SILENT_S
    for now in range(101, 120):
        b.take(a.say(b, b"x", float(now)), float(now))
    assert b.sessions.ask_at("a") == 100.0 + RENEW_S
    assert b.sessions.ask_at("nobody") == 0.0


def test_changed_facts_are_news_once() -> None:
    a, b = pair(100.0)
    a.facts = Facts.of(Member("a", incarnation=2, address="a:2", rank=5, voter=False), "2")
    welcome = reply(b.take(a.hello(101.0), 101.0))
    verdict = b.take(reply(a.take(welcome, 101.0)), 101.0)
    assert verdict.news
    assert verdict.proven is not None
    assert verdict.proven.facts.member() == Member("a", incarnation=2, address="a:2", rank=5, voter=False)
    assert not a.take(reply(b.take(a.hello(102.0), 102.0)), 102.0).news


def test_another_live_process_with_our_id_is_told_once_and_never_met() -> None:
    a, twin = Node("a"), Node("a")
    first = a.take(reply(twin.take(a.hello(1.0), 1.0)), 1.0)
    second = a.take(reply(twin.take(a.hello(2.0), 2.0)), 2.0)
    assert (first.twin, second.twin, first.proven, first.reply) == ("a:1", None, None, None)
    assert not a.sessions.peers


def test_our_own_frames_are_known_as_such() -> None:
    a, b = pair()
    assert a.take(a.hello(1.0, place=3), 1.0) == Verdict(own=True, place=3)
    assert a.take(a.say(b, b"x", 101.0), 101.0).dropped == "replayed"


def test_one_boot_cannot_take_a_second_name() -> None:
    a, b = pair()
    a.facts = Facts.of(Member("z", address="z:1"), "1")
    assert b.take(reply(a.take(reply(b.take(a.hello(101.0), 101.0)), 101.0)), 101.0).dropped == "garbage"
    assert list(b.sessions.peers) == ["a"]


def test_a_flood_without_the_secret_leaves_nothing_behind() -> None:
    _, b = pair()
    before = snapshot(b)
    for _ in range(2000):
        noise = b"HG\x01\x01" + KEYS.sending.name + os.urandom(800)
        assert b.take(noise, 101.0) == Verdict(dropped="forged")
    assert snapshot(b) == before
    assert len(b.sessions._boots) == 1


def test_peers_are_bounded_and_only_the_expired_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEERS_MAX", 2)
    b, first = Node("b"), Node("n1")
    meet(first, b, 100.0)
    meet(Node("n2"), b, 120.0)
    late = Node("n3")
    asked = reply(b.take(late.hello(121.0), 121.0))
    assert b.take(reply(late.take(asked, 121.0)), 121.0).dropped == "unknown_peer"
    meet(late, b, 100.0 + PROOF_S + 1)
    assert set(b.sessions.peers) == {"n2", "n3"}
    assert b.take(first.hello(132.0), 132.0).dropped == "stale_boot"  # what is forgotten cannot return


@given(st.binary(max_size=900), st.sampled_from(Kind), st.booleans(), st.booleans())
def test_no_payload_of_a_member_makes_the_receiver_raise(noise: bytes, kind: Kind, pad: bool, stream: bool) -> None:
    b = Node("b")
    payload = noise.ljust(704, b"\0")[:704] if pad else noise
    receiver = NOBODY if kind is Kind.HELLO else b.sessions.boot
    verdict = b.take(Sealer(KEYS.sending, os.urandom(16)).seal(kind, receiver, payload), 1.0, stream=stream)
    assert verdict.payload is None
    assert not b.sessions.peers
