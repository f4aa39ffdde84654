"""Sizes and numbers: what a request may cost, and how many may come at once."""

import asyncio
import json
import socket
import time
from typing import Any

import httpx
import pytest

from hegemon.api import resource
from hegemon.api.server import ApiServer
from tests.api.conftest import REQUEST_BYTES_MAX
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode
from tests.waiting import PATIENCE_S

JOBS = "/api/v1/jobs"
POST_JSON = f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def _job_of(size: int) -> bytes:
    frame = b'{"type":"echo","tags":[]}'
    return frame[:-1] + b" " * (size - len(frame)) + b"}"


def _chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _read_reply(connection: socket.socket) -> tuple[int, dict[str, Any], bool]:
    """The status, the body as JSON, and whether the connection is closed after it."""
    reply = connection.makefile("rb")
    status = int(reply.readline().split()[1])
    headers = {}
    while line := reply.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = json.loads(reply.read(int(headers["content-length"])))
    reply.close()
    return status, body, headers.get("connection") == "close"


def _exchange(server: ApiServer, request: bytes) -> tuple[int, dict[str, Any], bool]:
    """Send raw bytes over a connection of their own."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(request)
        return _read_reply(connection)


@pytest.mark.parametrize("size", [REQUEST_BYTES_MAX - 1, REQUEST_BYTES_MAX])
def test_a_body_up_to_the_limit_is_taken(http: httpx.Client, size: int) -> None:
    answer = http.post(JOBS, content=_job_of(size), headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


@pytest.mark.parametrize("size", [REQUEST_BYTES_MAX + 1, 50 * REQUEST_BYTES_MAX])
def test_a_body_beyond_the_limit_is_refused(http: httpx.Client, node: MemoryNode, size: int) -> None:
    answer = http.post(JOBS, content=_job_of(size), headers={"Content-Type": "application/json"})
    assert_problem(answer, 413, "body_too_large")
    assert not node.documents


def test_an_announced_length_beyond_the_limit_is_refused_before_the_body_comes(
    server: ApiServer, node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than our socket waits: an answer that waited for the body would never come.
    monkeypatch.setattr(resource, "LINGER_S", 10 * PATIENCE_S)
    status, body, closed = _exchange(server, f"{POST_JSON}Content-Length: 10000000000\r\n\r\n{{".encode())
    assert (status, body["code"], closed) == (413, "body_too_large", True)


@pytest.mark.parametrize("size", [REQUEST_BYTES_MAX - 100, REQUEST_BYTES_MAX])
def test_a_chunked_body_up_to_the_limit_is_taken(server: ApiServer, node: MemoryNode, size: int) -> None:
    request = f"{POST_JSON}Transfer-Encoding: chunked\r\n\r\n".encode() + _chunked(_job_of(size), 1000)
    assert _exchange(server, request)[0] == 201


@pytest.mark.parametrize("piece", [1000, 10_000_000])
def test_a_chunked_body_beyond_the_limit_is_refused(server: ApiServer, node: MemoryNode, piece: int) -> None:
    request = f"{POST_JSON}Transfer-Encoding: chunked\r\n\r\n".encode()
    status, body, closed = _exchange(server, request + _chunked(_job_of(REQUEST_BYTES_MAX + 1), piece))
    assert (status, body["code"], closed) == (413, "body_too_large", True)
    assert not node.documents


def test_a_client_that_sends_its_whole_body_before_it_listens_still_gets_the_answer(
    server: ApiServer, node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that is closed on unread data is reset, and what was written to it is lost."""
    monkeypatch.setattr(resource, "LINGER_S", PATIENCE_S)
    size = 20_000_000
    status, body, _ = _exchange(server, f"{POST_JSON}Content-Length: {size}\r\n\r\n".encode() + _job_of(size))
    assert (status, body["code"]) == (413, "body_too_large")


def test_a_body_without_end_is_cut_off_and_answered(server: ApiServer, node: MemoryNode) -> None:
    """The sender never stops; the answer comes all the same, and the connection ends."""
    piece = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(f"{POST_JSON}Transfer-Encoding: chunked\r\n\r\n".encode())
        connection.setblocking(False)
        heard, deadline_s = b"", time.monotonic() + PATIENCE_S
        closed = False
        while not closed and time.monotonic() < deadline_s:
            try:
                connection.send(piece)
            except BlockingIOError:
                pass
            except OSError:
                closed = True
            try:
                heard += connection.recv(65536)
            except BlockingIOError:
                pass
            except OSError:
                closed = True
    assert heard.startswith(b"HTTP/1.1 413 ")
    assert closed


def test_a_refused_request_leaves_its_connection_in_step(server: ApiServer, node: MemoryNode) -> None:
    """A body that nobody read must not be taken for the next request."""
    trap = b"GET /api/v1/stats HTTP/1.1\r\nHost: x\r\n\r\n"
    refused = f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {len(trap)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(refused.encode() + trap)
        assert _read_reply(connection)[0] == 415
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        status, body, _ = _read_reply(connection)
    assert (status, body["parts"]) == (200, {"claim loop": "ok"})


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(
    http: httpx.Client, server: ApiServer, node: MemoryNode
) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(f'{POST_JSON}Content-Length: 5000\r\n\r\n{{"type":"echo"'.encode())
    assert http.get("/livez").status_code == 200
    assert not node.documents


async def test_64_connections_submit_at_once_and_every_job_is_there(server: ApiServer, node: MemoryNode) -> None:
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=PATIENCE_S, trust_env=False) as client:

        async def submit(number: int) -> str:
            answer = await client.post(JOBS, json={"type": "echo", "payload": {"n": number}})
            assert answer.status_code == 201
            return str(answer.json()["id"])

        ids = await asyncio.gather(*(submit(number) for number in range(320)))
    assert len(set(ids)) == 320
    stored = {job_id: json.loads(document["payload"]["data"])["n"] for job_id, document in node.documents.items()}
    assert stored == {job_id: number for number, job_id in enumerate(ids)}
