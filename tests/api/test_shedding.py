"""What a node with too much to do answers at once: to each request its own refusal, and the connection stays usable."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.api.raw_http import JOBS, POST, Peer, raw_server
from tests.waiting import wait_until

BODY = b'{"type": "email"}'
SUBMIT = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@asynccontextmanager
async def overloaded() -> AsyncIterator[Peer]:
    """A connection to a server that is full, with a request whose body does not end."""
    async with raw_server(max_requests=1) as raw:
        busy, other = await raw.connect(), await raw.connect()
        busy.send(SUBMIT[:-5])
        await wait_until(lambda: raw.crowd.weight == 1)
        yield other
        assert raw.crowd.refused["overloaded"]
        busy.send(SUBMIT[-5:])
        assert (await busy.answer()).status == 201
        assert (await other.ask(SUBMIT)).status == 201
        assert raw.crowd.weight == 0


async def test_requests_that_come_together_are_refused_one_by_one_each_under_its_own_id() -> None:
    async with overloaded() as other:
        named = [SUBMIT.replace(b"Host:", b"X-Request-ID: mine-%d\r\nHost:" % n) for n in range(5)]
        other.send(b"".join(named))
        answers = [await other.answer() for _ in named]
    assert [(answer.status, answer.code) for answer in answers] == [(503, "overloaded")] * 5
    assert [answer.headers["x-request-id"] for answer in answers] == [f"mine-{n}" for n in range(5)]
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)
    assert all(int(answer.headers["retry-after"]) >= 1 and not answer.closes for answer in answers)


async def test_who_is_refused_by_the_head_may_still_send_the_body() -> None:
    async with overloaded() as other:
        other.send(SUBMIT[: -len(BODY)])
        assert (await other.answer()).code == "overloaded"
        other.send(BODY)


async def test_a_head_request_is_refused_without_a_body() -> None:
    async with overloaded() as other:
        other.send(f"HEAD {JOBS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await other._reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 503 ")


async def test_a_connection_that_is_to_be_closed_is_closed_after_its_refusal() -> None:
    async with raw_server(max_requests=1) as raw:
        busy, other = await raw.connect(), await raw.connect()
        busy.send(SUBMIT[:-5])
        await wait_until(lambda: raw.crowd.weight == 1)
        answer = await other.ask(SUBMIT.replace(b"Host:", b"Connection: close\r\nHost:"))
        assert (answer.status, answer.code, answer.closes) == (503, "overloaded", True)
        assert await other.closed() == b""
