"""Strangers, listeners and floods against real sockets: nothing is believed, everything is counted, little is kept."""

import asyncio
import os
import random
import socket
import time
import tracemalloc

import pytest

from hegemon.cluster import streams as stream_module
from hegemon.cluster.frames import DATAGRAM_FRAME_MAX, STREAM_FRAME_MAX, Keys, Kind, Sealer
from hegemon.cluster.sessions import HANDSHAKE_BYTES
from hegemon.cluster.streams import INBOUND_PER_ADDRESS
from hegemon.cluster.transport import STRANGERS_PER_S
from tests.cluster.transports import KEYS, Node, acquaint, exchange, raw, running, stream_to, tapped
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("patient_transports")


def place(node: Node) -> tuple[str, int]:
    return "127.0.0.1", node.transport.port


def heard_by(stranger: socket.socket) -> list[bytes]:
    """What has come to a raw socket so far."""
    stranger.setblocking(False)
    found = []
    while True:
        try:
            found.append(stranger.recv(65536))
        except BlockingIOError:
            return found


async def test_every_kind_of_bad_datagram_is_dropped_and_counted_by_its_reason() -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        await acquaint(a, b)
        async with tapped(a) as frames:
            a.transport.send("b", b"real")
            await wait_until(lambda: b.heard)
        real = frames[0]
        foreign = Sealer(Keys.from_secrets("d", "a secret").sending, os.urandom(16))
        bad = {
            "garbage": [b"", b"x", os.urandom(200), real[:63], b"HG\x02" + real[3:]],
            "oversize": [real.ljust(DATAGRAM_FRAME_MAX + 1, b"\0"), os.urandom(60000)],
            "forged": [real[:-1], real + b"x", real[:50] + bytes([real[50] ^ 1]) + real[51:]],
            "foreign_cluster": [foreign.seal(Kind.DATAGRAM, b.transport._sessions.boot, b"x")],
            "replayed": [real, real],
            "stale_boot": [a.transport._sessions._sealer.seal(Kind.DATAGRAM, os.urandom(16), b"x")],
            "unknown_peer": [Sealer(KEYS.sending, os.urandom(16)).seal(Kind.DATAGRAM, real[24:40], b"x")],
        }
        with raw() as stranger:
            for reason, frames_of_it in bad.items():
                for frame in frames_of_it:
                    stranger.sendto(frame, place(b))
                await b.counts(reason, len(frames_of_it))
        assert {reason: b.count(reason) for reason in bad} == {reason: len(of) for reason, of in bad.items()}
        assert b.heard == [("a", b"real", False)]
        await exchange(a, b)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_whole_recorded_session_moves_nothing(restarted: bool) -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        async with tapped(a) as said_by_a, tapped(b) as said_by_b:
            await acquaint(a, b)
            for n in range(30):
                a.transport.send("b", b"%d" % n)
            await wait_until(lambda: len(b.heard) == 30)
        target = b
        await a.transport.close()  # its word is still on tape
        if restarted:
            await b.transport.close()
            target = Node("b", port=b.transport.port)
            await target.transport.start()
        heard, met = list(target.heard), list(target.met)
        tape = [*said_by_a, *said_by_b] * 2
        with raw() as stranger:
            for frame in tape:
                stranger.sendto(frame, place(target))
            # Nothing in between is dropped by the kernel: 70 small frames fit the socket's buffer.
            stranger.sendto(b"the end", place(target))
            await wait_until(lambda: target.count("garbage"))
            answers = heard_by(stranger)
        assert (target.heard, target.met) == (heard, met)
        assert target.knows(a) is not restarted
        hellos = [frame for frame in tape if frame[3] == Kind.HELLO]
        asked = target.count("asked") if restarted else 0
        assert len(answers) <= len(hellos) + asked
        assert all(len(answer) == HANDSHAKE_BYTES for answer in answers)
        await target.transport.close()


async def test_a_replayed_hello_stores_nothing_and_gets_no_more_than_it_brought() -> None:
    a, b = Node("a"), Node("b")
    async with running(b):
        hello = a.transport._sessions.hello(a.transport._facts(), 0.0)
        with raw() as stranger:
            for n in range(1, 101):
                stranger.sendto(hello, place(b))
                answer = await asyncio.get_running_loop().run_in_executor(None, stranger.recv, 65536)
                assert len(answer) == len(hello), n
        assert (b.met, b.transport._sessions.peers, b.transport._sessions._boots) == ([], {}, {})
        assert b.transport._places.deadline() is None


async def test_a_flood_of_recorded_payloads_makes_us_ask_no_more_than_the_limit() -> None:
    b = Node("b")
    async with running(b):
        sealer = Sealer(KEYS.sending, os.urandom(16))
        started = time.monotonic()
        strangers = [raw() for _ in range(40)]
        for n in range(10):
            for stranger in strangers:
                stranger.sendto(sealer.seal(Kind.DATAGRAM, os.urandom(16), b"x"), place(b))
            await b.counts("stale_boot", 40 * (n + 1))
        for stranger in strangers:
            stranger.close()
        assert b.count("asked") <= STRANGERS_PER_S * (1 + time.monotonic() - started)
        assert len(b.transport._strangers) <= STRANGERS_PER_S


async def test_a_flood_of_forged_frames_leaves_nothing_behind_and_does_not_silence_peers() -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        await acquaint(a, b)
        noise = random.Random(7)
        sessions = b.transport._sessions
        kept = len(sessions._boots), len(sessions._retired), len(b.transport._strangers)
        asked = b.count("asked")
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        with raw() as stranger:
            sent = 0
            for _ in range(20):
                for _ in range(50):
                    stranger.sendto(b"HG\x01\x01" + KEYS.sending.name + noise.randbytes(800), place(b))
                sent += 50
                await b.counts("forged", sent)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 200_000
        assert (len(sessions._boots), len(sessions._retired), len(b.transport._strangers)) == kept
        assert b.count("asked") <= asked + 2
        await exchange(a, b)


# --- streams ----------------------------------------------------------------------------------------------------------


async def closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What a raw connection was told until it was closed."""
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "length", [0, 64, HANDSHAKE_BYTES - 1, HANDSHAKE_BYTES + 1, STREAM_FRAME_MAX, STREAM_FRAME_MAX + 1, 2**32 - 1]
)
async def test_a_stranger_may_announce_nothing_but_a_handshake(length: int) -> None:
    b = Node("b")
    async with running(b):
        connection = await stream_to(b, length.to_bytes(4, "big"))
        assert await closed(*connection) == b""
        await wait_until(lambda: b.count("oversize") == 1)


async def test_a_proven_peer_may_not_announce_more_than_a_frame() -> None:
    a, b = Node("a"), Node("b")
    async with running(a, b):
        await acquaint(a, b)
        reader, writer = await a.transport._streams._connect("b")
        writer.write((STREAM_FRAME_MAX + 1).to_bytes(4, "big"))
        await closed(reader, writer)
        assert b.count("oversize") == 1


async def test_slow_and_silent_streams_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "READ_S", 0.2)
    b = Node("b")
    async with running(b):
        silent = await stream_to(b, b"")
        _, dripping = await stream_to(b, HANDSHAKE_BYTES.to_bytes(4, "big"))

        async def drip() -> None:
            for _ in range(2000):  # a byte now and then must not buy more time
                dripping.write(b"x")
                await dripping.drain()
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await drip()
        dripping.transport.abort()
        await closed(*silent)
        await wait_until(lambda: b.count("stream_timeout") == 2 and not b.transport._streams._inbound)


async def test_streams_from_one_address_are_bounded_and_their_places_come_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "READ_S", 600.0)
    a, b = Node("a"), Node("b")
    async with running(a, b):
        await acquaint(a, b)
        many = [await stream_to(b, b"") for _ in range(INBOUND_PER_ADDRESS + 3)]
        await wait_until(lambda: b.count("stream_refused") == 3)
        assert len(b.transport._streams._inbound) == INBOUND_PER_ADDRESS
        for _, writer in many:
            writer.transport.abort()
        await wait_until(lambda: not b.transport._streams._inbound)
        assert not b.transport._streams._from
        await exchange(a, b)


async def test_all_streams_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "INBOUND_MAX", 2)
    monkeypatch.setattr(stream_module, "READ_S", 600.0)
    b = Node("b")
    async with running(b):
        many = [await stream_to(b, b"") for _ in range(5)]
        await wait_until(lambda: b.count("stream_refused") == 3)
        for _, writer in many:
            writer.transport.abort()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_recorded_stream_is_worth_nothing(restarted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = Node("a"), Node("b")
    tape: list[bytes] = []
    write = stream_module._write

    async def record(writer: asyncio.StreamWriter, frame: bytes) -> None:
        tape.append(len(frame).to_bytes(4, "big") + frame)
        await write(writer, frame)

    async with running(a, b):
        await acquaint(a, b)
        monkeypatch.setattr(stream_module, "_write", record)
        a.transport.stream("b", b"once")
        await wait_until(lambda: b.heard)
        monkeypatch.setattr(stream_module, "_write", write)
        if restarted:
            await b.transport.close()
            b = Node("b", port=b.transport.port)
            await b.transport.start()
        heard = list(b.heard)
        said_by_a = [tape[0], tape[2], tape[3]]
        for taped in (said_by_a, said_by_a[1:], said_by_a[2:]):
            answer = await closed(*await stream_to(b, b"".join(taped)))
            assert len(answer) <= len(taped[0])
        assert b.heard == heard
        await b.transport.close()


async def test_who_answers_at_a_peers_address_without_being_it_gets_no_payload() -> None:
    a, c = Node("a"), Node("c")
    async with running(a, c):
        a.transport.introduce(c.address, "b")
        a.transport._streams.send("b", b"for b alone")
        await wait_until(lambda: a.count("stream_failed"))
        assert c.heard == []


async def test_what_waits_for_a_stream_is_bounded_and_failures_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "CONNECT_S", 0.5)
    monkeypatch.setattr(stream_module, "STALE_S", 0.8)
    a = Node("a")
    async with running(a):
        with socket.socket() as deaf:  # listens, and never answers
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(1)
            a.transport.introduce(f"127.0.0.1:{deaf.getsockname()[1]}", "b")
            for _ in range(20):
                a.transport.stream("b", b"x")
            assert a.count("queue_full") == 20 - stream_module.QUEUE_MAX
            # The first waits in vain, perhaps the second too, and the rest is then too old to be true.
            await wait_until(lambda: a.count("stream_failed") == stream_module.QUEUE_MAX)
