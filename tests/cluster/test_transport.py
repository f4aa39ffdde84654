"""Transports that mean well, over real sockets on loopback: they find, hear and keep each other."""

import socket
import threading
import time
from typing import Any

import pytest

from hegemon.cluster import transport as module
from hegemon.cluster.frames import Keys
from hegemon.cluster.transport_addresses import join, split
from hegemon.cluster.transport_places import LAST_S, OWN_S, Places
from hegemon.election.contract import DATAGRAM_MAX, STREAM_MAX, Member
from tests.cluster.transports import KEYS, Node, acquaint, exchange, raw, running
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("patient_transports")


async def test_one_introduction_makes_two_nodes_hear_each_other_both_ways() -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        a.transport.introduce(b.address)  # nobody said who is there
        await wait_until(lambda: a.knows(b) and b.knows(a))
        assert (a.met, b.met) == ([b.me()], [a.me()])
        await exchange(a, b)
        facts = a.transport.facts("b")
        assert facts is not None
        assert facts.version
        assert a.transport.facts("nobody") is None


async def test_the_largest_payloads_arrive_whole_and_larger_ones_are_not_sent() -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        await acquaint(a, b)
        for size, send in ((DATAGRAM_MAX, a.transport.send), (STREAM_MAX, a.transport.stream)):
            send("b", b"x" * (size + 1))
            send("b", b"y" * size)
        await wait_until(lambda: len(b.heard) == 2)
        assert sorted(b.heard) == [("a", b"y" * DATAGRAM_MAX, False), ("a", b"y" * STREAM_MAX, True)]
        assert a.count("oversize") == 2


async def test_what_was_said_before_a_session_is_said_when_there_is_one_the_newest_few() -> None:
    a, b = Node("a"), Node("b")
    async with running(a):
        with raw() as closed:
            port = closed.getsockname()[1]
        a.transport.introduce(f"127.0.0.1:{port}", "b")
        b = Node("b", port=port)
        for n in range(20):
            a.transport.send("b", b"%d" % n)
        async with running(b):
            await wait_until(lambda: len(b.heard) == module.PENDING_MAX)
            assert [payload for _, payload, _ in b.heard] == [b"%d" % n for n in range(12, 20)]
            assert a.count("queue_full") == 12


async def test_what_is_said_the_moment_a_peer_is_met_does_not_overtake_the_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = Node("a"), Node("b")
    for node in (a, b):
        monkeypatch.setattr(node.transport, "_met", lambda who, at=node: at.transport.send(who.id, b"hello"))
    async with running(a, b):
        a.transport.introduce(b.address)
        await wait_until(lambda: a.heard == [("b", b"hello", False)] and b.heard == [("a", b"hello", False)])
        assert (a.count("unknown_peer"), b.count("unknown_peer")) == (0, 0)


async def test_streams_prove_their_ends_without_any_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        for node in (a, b):
            monkeypatch.setattr(node.transport, "_sendto", lambda frame, target: None)
        a.transport.introduce(b.address, "b")
        a.transport.stream("b", b"x")
        await wait_until(lambda: b.heard == [("a", b"x", True)])
        b.transport.stream("a", b"y")
        await wait_until(lambda: a.heard == [("b", b"y", True)])


async def test_a_stream_is_kept_for_the_next_message_and_made_anew_for_a_restarted_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = Node("a"), Node("b")
    async with running(a):
        async with running(b):
            await acquaint(a, b)
            dialled: list[str] = []
            dial = a.transport.dial

            async def counted(to: str) -> tuple[Any, ...] | None:
                dialled.append(to)
                return await dial(to)

            monkeypatch.setattr(a.transport, "dial", counted)
            for n in range(5):
                a.transport.stream("b", b"%d" % n)
                await b.hears(("a", b"%d" % n, True))
            assert dialled == ["b"]
        again = Node("b", port=b.transport.port)
        async with running(again):
            again.transport.introduce(a.address)
            await wait_until(lambda: a.knows(again) and again.knows(a))
            a.transport.stream("b", b"again")
            await wait_until(lambda: again.heard == [("a", b"again", True)])
            assert dialled == ["b", "b"]


@pytest.mark.parametrize("same_port", [True, False])
async def test_a_restarted_peer_is_heard_again_without_waiting_for_a_silence(same_port: bool) -> None:
    a, b = Node("a"), Node("b")
    async with running(a):
        async with running(b):
            await acquaint(a, b)
        again = Node("b", port=b.transport.port if same_port else 0)
        async with running(again):
            again.transport.introduce(a.address)
            again.transport.send("a", b"kept")
            await wait_until(lambda: a.knows(again) and again.knows(a))
            await exchange(a, again)
            assert [member.address for member in a.met] == [b.address, again.address]


async def test_a_restarted_peer_that_was_told_of_nobody_asks_whoever_speaks_to_it() -> None:
    a, b = Node("a"), Node("b")
    async with running(a):
        async with running(b):
            await acquaint(a, b)
        again = Node("b", port=b.transport.port)
        async with running(again):
            a.transport.send("b", b"to the dead")
            await wait_until(lambda: a.knows(again) and again.knows(a))
            assert again.count("stale_boot") >= 1
            await exchange(a, again)
            assert ("a", b"to the dead", False) not in again.heard


async def test_a_lost_last_frame_of_the_handshake_is_made_good_by_the_next_payload() -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        a.transport.introduce(b.address)
        await wait_until(lambda: b.knows(a))
        peer = b.transport._sessions.peers.pop("a")
        del b.transport._sessions._boots[peer.boot]  # as if CONFIRM had never come
        a.transport.send("b", b"x")
        await wait_until(lambda: b.knows(a))
        assert b.count("unknown_peer") == 1
        await exchange(a, b)


async def test_changed_facts_are_met_again_and_two_addresses_of_a_node_are_one_peer() -> None:
    a, b = Node("a", host="0.0.0.0", advertise=lambda port: f"127.0.0.1:{port}"), Node("b")  # noqa: S104
    async with running(a, b):
        await acquaint(b, a)
        b.transport.introduce(f"127.0.0.2:{a.transport.port}")
        await wait_until(lambda: [p.node for p in b.transport._places._by_address.values()] == ["a", "a"])
        assert len(b.met) == 1
        a.advertise = lambda port: f"127.0.0.2:{port}"
        a.transport.introduce(b.address)
        b.transport.introduce(f"127.0.0.3:{a.transport.port}")
        await wait_until(lambda: [member.address[:9] for member in b.met] == ["127.0.0.1", "127.0.0.2"])
        await exchange(a, b)


async def test_our_own_address_and_a_twin_are_no_peers_and_the_twin_is_told() -> None:
    a, twin = Node("a"), Node("a")
    async with running(a, twin):
        a.transport.introduce(a.address)
        a.transport.introduce(twin.address)
        await wait_until(lambda: a.twins)
        place = a.transport._places._by_address[a.address]
        await wait_until(lambda: place.ask_at > time.monotonic() + OWN_S / 2)
        assert (a.twins, a.met, twin.met) == ([twin.address], [], [])
        for send in (a.transport.send, a.transport.stream):
            send("a", b"to myself")
        assert a.count("unknown_peer") == 2


async def test_three_nodes_hear_each_other_in_every_step_of_a_rotation() -> None:
    steps = [("old", None), ("old", "new"), ("new", "old"), ("new", None)]
    nodes = [Node(name, keys=Keys.from_secrets("c", *steps[0])) for name in "abc"]
    async with running(*nodes):
        await acquaint(*nodes)
        for step in steps[1:]:
            for at in range(3):
                await nodes[at].transport.close()
                nodes[at] = Node(nodes[at].name, port=nodes[at].transport.port, keys=Keys.from_secrets("c", *step))
                await nodes[at].transport.start()
                for other in nodes:
                    nodes[at].transport.introduce(other.address)
                await wait_until(lambda: all(n.knows(*(o for o in nodes if o is not n)) for n in nodes))
                await exchange(nodes[at], nodes[at - 1], b"%d" % at)
        for node in nodes:
            await node.transport.close()


@pytest.mark.parametrize(
    ("host", "reach"),
    [("::1", "[::1]"), ("::", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "localhost"), ("localhost", "localhost")],
)
async def test_addresses_of_both_families_and_names_are_reached(host: str, reach: str) -> None:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    a, b = (Node(name, host=host, advertise=lambda port: f"{reach}:{port}") for name in "ab")
    async with running(a, b):
        await acquaint(a, b)
        await exchange(a, b)
        assert set(a.heard) == {("b", b"ping", stream) for stream in (False, True)}
        assert set(b.heard) == {("a", b"ping", stream) for stream in (False, True)}


async def test_a_resolver_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *rest: object) -> object:
        if host == "moved.invalid":
            hangs.wait(30)
            raise socket.gaierror
        return real(host, *rest)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    a, b = Node("a"), Node("b", advertise=lambda port: f"moved.invalid:{port}")
    try:
        async with running(a, b):
            a.transport.introduce("moved.invalid:1", "c")
            b.transport.introduce(a.address)
            await wait_until(lambda: a.knows(b) and b.knows(a))
            a.transport.send("b", b"x")  # answered where it came from
            await wait_until(lambda: b.heard == [("a", b"x", False)])
    finally:
        hangs.set()


async def test_a_name_is_looked_up_again_when_its_node_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    place, real = "127.0.0.9", socket.getaddrinfo

    def getaddrinfo(host: str, *rest: object) -> object:
        return real(place if host == "container" else host, *rest)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    a, b = Node("a"), Node("b")
    async with running(a, b):
        a.transport.introduce(f"container:{b.transport.port}", "b")
        await wait_until(lambda: a.transport._addresses.known(f"container:{b.transport.port}"))
        place = "127.0.0.1"
        await wait_until(lambda: a.knows(b))


async def test_what_the_system_refuses_to_send_is_counted() -> None:
    a = Node("a")
    async with running(a):
        a.transport.introduce("255.255.255.255:9")  # a broadcast, for which the socket has no permission
        await wait_until(lambda: a.count("send_failed"))
        a.transport.stream("nobody", b"x")
        a.transport.send("nobody", b"x")
        assert a.count("unknown_peer") == 2


async def test_nothing_is_said_or_called_before_start_or_after_close() -> None:
    a, b = Node("a"), Node("b")
    a.transport.send("b", b"x")
    a.transport.stream("b", b"x")
    await a.transport.close()
    async with running(b):
        taken = Node("c", port=b.transport.port)
        with pytest.raises(OSError, match="in use"):
            await taken.transport.start()
        await taken.transport.close()
        with pytest.raises(ValueError, match="too long"):
            await Node("n" * 255, advertise=lambda _: "é" * 300).transport.start()
    b.transport.introduce("127.0.0.1:1")
    b.transport.send("a", b"x")
    await b.transport.close()


class _Half:
    """Chance in the middle."""

    def random(self) -> float:
        return 0.5

    def randrange(self, stop: int, /) -> int:
        return stop // 2

    def shuffle(self, items: object, /) -> None:
        raise AssertionError


def test_a_place_is_asked_with_growing_pauses_until_it_answers_and_again_when_it_is_silent() -> None:
    wanted = {"b": 0.0}
    places = Places(lambda node: wanted.get(node, 0.0), _Half())
    assert places.deadline() is None
    places.add("x:1", None, 0.0, introduced=True)
    asked, now = [], 0.0
    while now < 10.0:
        due = places.due(now)
        asked += [round(now, 1) for _ in due]
        deadline = places.deadline()
        assert deadline is not None
        assert now < deadline <= now + LAST_S
        now = deadline
    assert asked == [0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 5.1, 7.1, 9.1]
    wanted["b"] = 20.0
    places.answered(1, "b", 10.0)
    assert places.due(10.0) == []
    assert places.deadline() == 20.5
    wanted["b"] = 15.0
    assert [place.address for place in places.due(20.5)] == ["x:1"]
    places.add("y:1", "b", 20.5, introduced=False)
    assert [place.address for place in places.due(20.5 + 601)] == ["x:1"]  # what was only learned is given up
    places.remove("x:1")
    assert places.deadline() is None


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "[]:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split(text)


def test_addresses_are_split_as_they_are_joined() -> None:
    for host in ("::1", "127.0.0.1", "a.name"):
        assert split(join(host, 5)) == (host, 5)
    assert Member("a", address=join("::1", 5)).address == "[::1]:5"
    assert KEYS.other is None
