"""Slow, large and many: what a connection may cost. Time passes when a test says so."""

import asyncio
import json
import resource as process_limits
import socket

import pytest

from hegemon.api import connections, open_files, resource
from hegemon.api.connections import PIPELINED_MAX, HttpConnection
from hegemon.cluster.limit_settings import LimitSettings
from tests.api.raw_http import GET, JOBS, POST, Peer, raw_server
from tests.waiting import wait_until

JOB = b'{"type":"echo"}'
SUBMIT = POST + b"Content-Length: %d\r\n\r\n" % len(JOB) + JOB


def reading_a_head(connection: HttpConnection) -> bool:
    return connection._in_head


def has_no_request(connection: HttpConnection) -> bool:
    return connection._last() is None


def reads_a_body(connection: HttpConnection) -> bool:
    cycle = connection._last()
    return cycle is not None and cycle.more_body and not cycle.response_complete


async def test_a_head_that_does_not_come_to_its_end_is_answered_408_and_cut_off() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(GET[:20])
        await raw.until(reading_a_head)
        raw.pass_time(0.9)
        raw.pass_time(1.1)
        answer = await peer.answer()
        assert (answer.status, answer.code, answer.closes) == (408, "request_timeout", True)
        assert await peer.closed() == b""


async def test_a_head_that_trickles_in_has_no_more_time_than_one_that_stands_still() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        for at in range(0, 20, 5):
            peer.send(GET[at : at + 5])
            await raw.until(reading_a_head)
            await raw.until_head_has(at)
            raw.pass_time(0.3)
        raw.pass_time(0.3)
        assert (await peer.answer()).code == "request_timeout"


async def test_a_connection_without_a_request_is_closed_without_a_word() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        await raw.until(has_no_request)
        raw.pass_time(0.9)
        assert len(raw.connections) == 1
        raw.pass_time(1.1)
        assert await peer.closed() == b""


async def test_an_idle_connection_is_closed_after_its_keep_alive_and_not_before() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        assert (await peer.ask()).status == 200
        raw.pass_time(0.9)
        assert (await peer.ask()).status == 200
        raw.pass_time(1.1)
        assert await peer.closed() == b""


async def test_a_body_that_does_not_come_is_answered_408_and_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "LINGER_S", 0.0)
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(SUBMIT[:-5])
        await raw.until(reads_a_body)
        raw.pass_time(0.9)
        raw.pass_time(1.1)
        answer = await peer.answer()
        assert (answer.status, answer.code, answer.closes) == (408, "request_timeout", True)
        assert await peer.closed() == b""
        assert not raw.node.documents


async def test_a_large_body_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "LINGER_S", 0.0)
    monkeypatch.setattr(connections, "BODY_BYTES_PER_S", 1)
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(POST + b"Content-Length: 9000\r\n\r\n" + b" " * 5000)
        await raw.until(lambda connection: connection._slot is not None and connection._slot.received == 5000)
        raw.pass_time(1 + 4000 / 3600)
        await raw.until(reads_a_body)
        raw.pass_time(1 + 6000 / 3600)
        assert (await peer.answer()).code == "request_timeout"


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        job_id = json.loads((await peer.ask(SUBMIT)).body)["id"]
        peer.send(f"GET {JOBS}/{job_id}/wait?timeout=100 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: raw.node.waiting == 1)
        raw.pass_time(1.1)
        answer = await peer.answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        await wait_until(lambda: raw.node.waiting == 0)


async def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport reads, too
        await raw.until(has_no_request)
        transport = raw.connections[0].transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        description = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(20):
            peer.send(description)
        # Up to the point at which the kernel takes no more.
        while not raw.connections[0].flow.write_paused:
            peer.send(description)
            await wait_until(lambda: raw.connections[0].pipeline or raw.connections[0].flow.write_paused)
        raw.pass_time(0)
        raw.pass_time(0.9)
        assert len(raw.connections) == 1
        raw.pass_time(1.1)
        assert raw.crowd.refused["unread"] == 1
        await wait_until(lambda: not raw.connections)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /livez?" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 101 + b"\r\n",
    ],
    ids=["value", "line", "count"],
)
async def test_a_head_beyond_its_size_is_answered_431_and_cut_off(head: bytes) -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        answer = await peer.ask(head)
        assert (answer.status, answer.code, answer.closes) == (431, "headers_too_large", True)
        await peer.closed()


async def test_a_head_without_end_is_cut_off() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _ in range(200):
            peer.send(b"a" * 10_000)
        # It is cut off while we still send, and the answer may be lost over that.
        assert (await peer.closed())[:12] in (b"", b"HTTP/1.1 431")
        assert raw.crowd.refused["headers_too_large"] == 1


async def test_a_head_just_within_its_size_is_taken() -> None:
    async with raw_server() as raw:
        fields = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 300) for n in range(95))
        assert (await (await raw.connect()).ask(GET[:-2] + fields + b"\r\n")).status == 200


async def test_a_connection_too_many_gets_503_and_the_next_one_after_a_farewell_is_served() -> None:
    async with raw_server(max_connections=2) as raw:
        first, second = await raw.connect(), await raw.connect()
        assert (await first.ask()).status == (await second.ask()).status == 200
        third = await raw.connect()
        answer = await third.ask()
        assert (answer.status, answer.code, answer.closes) == (503, "too_many_connections", True)
        assert int(answer.headers["retry-after"]) >= 1
        await third.closed()
        assert (await first.ask()).status == 200
        second.writer.close()
        await wait_until(lambda: len(raw.connections) == 1)
        assert (await (await raw.connect()).ask()).status == 200


async def test_a_crowd_beyond_that_is_cut_off_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SPARE", 1)
    async with raw_server(max_connections=1) as raw:
        peers: list[Peer] = [await raw.connect() for _ in range(3)]
        peers[2].send(GET)
        assert await peers[2].closed() == b""
        assert (await peers[0].ask()).status == 200


async def test_a_request_too_many_gets_503_at_once_and_its_connection_stays() -> None:
    async with raw_server(max_requests=1) as raw:
        busy, other = await raw.connect(), await raw.connect()
        busy.send(SUBMIT[:-5])
        await raw.until(reads_a_body)
        answer = await other.ask(SUBMIT)
        assert (answer.status, answer.code, answer.closes) == (503, "overloaded", False)
        assert int(answer.headers["retry-after"]) >= 1
        assert (await busy.ask(SUBMIT[-5:])).status == 201
        assert (await other.ask(SUBMIT)).status == 201
        assert raw.crowd.weight == 0


async def test_those_who_watch_a_node_are_answered_whatever_it_has_to_do() -> None:
    async with raw_server(max_requests=1) as raw:
        busy, watcher = await raw.connect(), await raw.connect()
        busy.send(SUBMIT[:-5])
        await raw.until(reads_a_body)
        for path in (b"livez", b"readyz", b"health"):
            assert (await watcher.ask(GET.replace(b"livez", path))).status == 200
        assert (await watcher.ask(SUBMIT)).code == "overloaded"


async def test_requests_that_wait_for_a_job_leave_room_for_others() -> None:
    async with raw_server(max_requests=1) as raw:
        waiter, other = await raw.connect(), await raw.connect()
        job_id = json.loads((await other.ask(SUBMIT)).body)["id"]
        waiter.send(f"GET {JOBS}/{job_id}/wait?timeout=100 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: raw.node.waiting == 1)
        assert (await other.ask(SUBMIT)).status == 201
        raw.node.finish(job_id, 1)
        assert (await waiter.answer()).status == 200


async def test_a_peer_that_leaves_gives_its_room_back() -> None:
    async with raw_server(max_requests=1) as raw:
        busy, other = await raw.connect(), await raw.connect()
        busy.send(SUBMIT[:-5])
        await raw.until(reads_a_body)
        busy.writer.transport.abort()
        await wait_until(lambda: raw.crowd.weight == 0)
        assert (await other.ask(SUBMIT)).status == 201


async def test_a_large_body_weighs_as_much_as_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "LINGER_S", 0.0)
    async with raw_server(max_requests=10) as raw:
        large, other, third = await raw.connect(), await raw.connect(), await raw.connect()
        large.send(POST + b"Content-Length: 140000\r\n\r\n{")
        await wait_until(lambda: raw.crowd.weight == 9)
        assert (await other.ask(SUBMIT)).status == 201
        answer = await third.ask(POST + b"Content-Length: 140000\r\n\r\n{")
        assert (answer.status, answer.code) == (503, "overloaded")


async def test_bodies_beyond_their_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "LINGER_S", 0.0)
    monkeypatch.setattr(connections, "BODIES_BYTES_MAX", 150_000)
    async with raw_server() as raw:
        first, second = await raw.connect(), await raw.connect()
        first.send(POST + b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + b" " * 100_000 + b"\r\n")
        await wait_until(lambda: raw.crowd.held >= 100_000)
        answer = await second.ask(POST + b"Content-Length: 60000\r\n\r\n{")
        assert (answer.status, answer.code) == (503, "overloaded")


async def test_requests_far_ahead_of_their_answers_cut_the_connection() -> None:
    async with raw_server() as raw:
        peer, other = await raw.connect(), await raw.connect()
        job_id = json.loads((await other.ask(SUBMIT)).body)["id"]
        wait = f"GET {JOBS}/{job_id}/wait?timeout=100 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        peer.send(wait + GET * (PIPELINED_MAX + 1))
        await peer.closed()
        assert raw.crowd.refused["pipelined"] == 1
        await wait_until(lambda: raw.node.waiting == 0)


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(GET + GET.replace(b"livez", b"nothing") + SUBMIT + GET)
        assert [(await peer.answer()).status for _ in range(4)] == [200, 404, 201, 200]


async def test_a_node_that_stood_still_does_not_blame_its_peers() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(GET[:20])
        await raw.until(reading_a_head)
        for _ in range(3):
            # The loop comes back after a day; what was sent meanwhile is there, and was not read yet.
            raw.crowd.sweep(asyncio.get_running_loop().time() + 86_400)
            raw.crowd.sweep(asyncio.get_running_loop().time())
        assert (await peer.ask(GET[20:])).status == 200


def test_more_connections_than_files_are_known_before_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(process_limits, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(process_limits, "setrlimit", lambda which, limits: asked.append(limits))
    assert open_files.room_for(100) == 100
    assert not asked
    assert open_files.room_for(2000) == 2000
    besides = connections.SPARE + open_files.FILES_OF_THE_NODE
    assert open_files.room_for(10_000) == 4096 - besides
    assert asked == [(2000 + besides, 4096), (4096, 4096)]


def test_a_time_limit_for_requests_below_the_longest_wait_is_refused() -> None:
    with pytest.raises(ValueError, match="REQUEST_TIMEOUT must be longer"):
        LimitSettings.model_validate({"request_timeout": "2m"})
