"""Slowloris, crowds of idle connections, and what a peer can do to HTTP itself."""

import asyncio

import pytest

from tests.api.raw_http import GET, JOBS, POST, Peer, Raw, raw_server
from tests.waiting import wait_until


async def crowd_of(raw: Raw, count: int) -> list[Peer]:
    """So many connections, each of which had an answer."""
    peers: list[Peer] = []
    for _ in range(0, count, 50):
        more = await asyncio.gather(*(raw.connect() for _ in range(min(50, count - len(peers)))))
        for answer in await asyncio.gather(*(peer.ask() for peer in more)):
            assert answer.status == 200
        peers += more
    return peers


async def test_slow_heads_on_every_connection_do_not_keep_others_out_for_longer_than_the_timeout() -> None:
    async with raw_server(max_connections=50) as raw:
        slow = [await raw.connect() for _ in range(50)]
        for peer in slow:
            peer.send(GET[:10])
        await raw.until(lambda connection: connection._in_head, count=50)
        assert (await (await raw.connect()).ask()).code == "too_many_connections"
        raw.pass_time(1.1)
        for peer in slow:
            assert b"request_timeout" in await peer.closed()
        await wait_until(lambda: not raw.connections)
        assert (await (await raw.connect()).ask()).status == 200


async def test_idle_connections_cost_nothing_but_their_memory_and_one_sweep_ends_them() -> None:
    async with raw_server() as raw:
        peers = await crowd_of(raw, 300)
        assert len(raw.connections) == 300
        assert raw.crowd.weight == raw.crowd.held == 0
        assert not raw.crowd.tasks
        raw.pass_time(1.1)
        await asyncio.gather(*(peer.closed() for peer in peers))
        await wait_until(lambda: not raw.connections)


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 5, 5\r\n\r\nabcde",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /live\x00z HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /liv\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_two_servers_could_read_in_two_ways_is_refused_and_the_connection_ends(request_: bytes) -> None:
    """Request smuggling lives on requests that are tolerated."""
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(request_ + GET)
        # However the refusal reads, nothing behind it is taken for a request.
        heard = await peer.closed()
        assert heard[:10] in (b"HTTP/1.1 4", b"")
        assert heard.count(b"HTTP/1.1 ") <= 1
        assert not raw.node.documents
        assert (await (await raw.connect()).ask()).status == 200


async def test_a_request_to_upgrade_is_answered_in_http_1_and_ends_the_connection() -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        answer = await peer.ask(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert answer.status == 200
        assert await peer.closed() == b""


async def test_a_body_without_its_job_at_the_end_of_the_connection_harms_nobody() -> None:
    async with raw_server() as raw:
        for cut in range(1, 100, 9):
            peer = await raw.connect()
            peer.send((POST + b'Content-Length: 15\r\n\r\n{"type":"echo"}')[:-cut])
            peer.writer.write_eof()
            peer.writer.close()
        assert (await (await raw.connect()).ask()).status == 200
        assert not raw.node.documents


async def test_a_path_that_climbs_out_is_a_path_that_is_not_there() -> None:
    async with raw_server() as raw:
        for path in ("/../etc/passwd", "/api/v1/%2e%2e/livez", "//livez", "/livez/", f"{JOBS}/..%2f..%2flivez", "/%00"):
            answer = await (await raw.connect()).ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert (answer.status, answer.code) in ((404, "not_found"), (404, "job_not_found")), path
