"""The stream of events over HTTP: exact from any place, bounded, and ended with a word."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest

from hegemon.api import activity_streams
from hegemon.auth.roles import Role
from hegemon.monitoring import activity_feed
from tests.api.documented import assert_problem
from tests.api.raw_http import Raw, raw_server
from tests.api.secured import TTL, open_secured
from tests.api.streaming import STREAM, Reading, listening
from tests.conftest import MongoServer
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
async def raw() -> AsyncIterator[Raw]:
    async with raw_server() as served:
        yield served


def ids(first: int, last: int) -> list[str]:
    """Of the events in these places."""
    return [f"n1:1:{place}" for place in range(first, last + 1)]


async def test_whoever_comes_hears_from_then_on_and_is_told_which_place_that_is(raw: Raw) -> None:
    raw.node.happen("node.started", url="http://n1", version="1")
    async with listening(raw.server.url) as reading:
        assert reading.frames[0].data == {"complete": True, "missing": []}
        assert (reading.frames[0].name, reading.last_id) == ("state", "1")
        assert reading.retry_ms is not None
        raw.node.happen("office.vacated", epoch=8)
        await reading.until(lambda: reading.events)
        (told,) = reading.named("message")
        assert (told["id"], told["cursor"], told["kind"], told["fields"]) == (
            "n1:1:2",
            "2",
            "office.vacated",
            {"epoch": 8},
        )
        assert reading.last_id == "2"


@pytest.mark.parametrize("way", ["header", "query", "both"])
async def test_whoever_comes_back_misses_nothing_and_hears_nothing_twice(raw: Raw, way: str) -> None:
    for epoch in range(5):
        raw.node.happen("office.vacated", epoch=epoch)
    params = {"header": {}, "query": {"after": "2"}, "both": {"after": "4"}}[way]
    async with listening(raw.server.url, after=None if way == "query" else "2", params=params) as reading:
        raw.node.happen("office.vacated", epoch=6)
        await reading.until(lambda: len(reading.events) >= 4)
    assert reading.events == ids(3, 6)


async def test_what_lies_further_back_than_the_log_comes_from_the_store_in_its_order(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_feed, "RECENT", 10)
    monkeypatch.setattr(activity_streams, "PAGE", 7)
    for epoch in range(100):
        raw.node.happen("office.vacated", epoch=epoch)
    async with listening(raw.server.url, after="3") as reading:
        raw.node.happen("office.vacated", epoch=100)
        await reading.until(lambda: len(reading.events) >= 98)
        raw.node.happen("office.vacated", epoch=101)
        await reading.until(lambda: len(reading.events) >= 99)
    assert reading.events == ids(4, 102)


async def test_a_place_beyond_all_others_is_one_of_another_store(raw: Raw) -> None:
    raw.node.happen("office.vacated", epoch=1)
    async with listening(raw.server.url, after="4711") as reading:
        assert reading.last_id == "1"
        raw.node.happen("office.vacated", epoch=2)
        await reading.until(lambda: reading.events)
    assert reading.events == ids(2, 2)


async def test_a_stream_shows_what_it_was_asked_for(raw: Raw) -> None:
    async with listening(raw.server.url, params={"kind": "job", "severity": "warning", "node": "n2"}) as reading:
        for kind, severity, node in [
            ("job.dead", "error", "n1"),
            ("job.cancelled", "info", "n2"),
            ("office.lost", "warning", "n2"),
            ("job.retried", "warning", "n2"),
        ]:
            raw.node.happen(kind, severity, node)
        await reading.until(lambda: reading.events)
    assert [event["kind"] for event in reading.named("message")] == ["job.retried"]


@pytest.mark.parametrize(
    ("params", "headers", "field"),
    [
        ({"after": "x"}, {}, "after"),
        ({"limit": "3"}, {}, "limit"),
        ({"severity": "loud"}, {}, "severity"),
        ({}, {"Last-Event-ID": "n1:1:4"}, "Last-Event-ID"),
    ],
)
async def test_what_cannot_be_a_parameter_is_refused(
    raw: Raw, params: dict[str, str], headers: dict[str, str], field: str
) -> None:
    async with httpx.AsyncClient(base_url=raw.server.url, timeout=PATIENCE_S, trust_env=False) as client:
        answer = await client.get(STREAM, params=params, headers=headers)
        assert_problem(answer, 422, "invalid_parameter", field)
        assert (await client.head(STREAM)).headers["content-type"] == "text/event-stream"


async def test_the_store_is_read_once_for_all_streams_and_not_at_all_for_none(raw: Raw) -> None:
    shared, feed = raw.node.shared, raw.node.feed
    assert shared.pages == 0
    async with AsyncExitStack() as streams:
        readings = [await streams.enter_async_context(listening(raw.server.url)) for _ in range(20)]
        raw.node.happen("office.vacated", epoch=1)
        for reading in readings:
            await reading.until(lambda reading=reading: reading.events)  # type: ignore[misc]
        assert shared.pages <= feed._begun
    await wait_until(lambda: raw.streams.open == 0)
    await wait_until(lambda: feed.read_to is None)
    read = shared.pages
    feed.hurry()
    async with listening(raw.server.url):
        assert shared.pages > read


async def test_while_the_store_is_away_the_nodes_own_events_come_at_once_and_afterwards_the_rest(raw: Raw) -> None:
    raw.node.happen("office.vacated", epoch=1)
    async with listening(raw.server.url) as reading:
        raw.node.shared.away = True
        await reading.until(lambda: len(reading.named("state")) == 2)
        assert reading.named("state")[1] == {"complete": False, "missing": ["n2"]}
        raw.node.happen("office.vacated", placed=False, epoch=2)
        await reading.until(lambda: reading.events)
        assert (reading.events, reading.last_id) == (["n1:1:2"], "1")
        assert reading.named("message")[0]["cursor"] is None
        raw.node.happen("office.taken", node="n2", epoch=3, term=1)
        raw.node.place("n1:1:2")
        raw.node.shared.away = False
        await reading.until(lambda: len(reading.named("state")) == 3)
        assert reading.named("state")[2]["complete"]
        assert reading.events == ["n1:1:2", "n2:1:3"]
        raw.node.happen("office.vacated", epoch=4)
        await reading.until(lambda: len(reading.events) == 3)
        assert reading.last_id == "4"
    # Who was not there hears of it in its place.
    async with listening(raw.server.url, after="1") as reading:
        await reading.until(lambda: len(reading.events) == 3)
    assert sorted(reading.events) == ["n1:1:2", "n1:1:4", "n2:1:3"]


async def test_who_comes_back_while_the_store_is_away_gets_what_was_missed_once_it_is_back(raw: Raw) -> None:
    for epoch in range(3):
        raw.node.happen("office.vacated", epoch=epoch)
    raw.node.shared.away = True
    async with listening(raw.server.url, after="1") as late, listening(raw.server.url) as blind:
        await late.until(lambda: late.named("state")[-1]["complete"] is False)
        await blind.until(lambda: blind.named("state")[-1]["complete"] is False)
        assert late.events == blind.events == []
        raw.node.shared.away = False
        await late.until(lambda: len(late.events) >= 2)
        await blind.until(lambda: blind.named("state")[-1]["complete"])
        raw.node.happen("office.vacated", epoch=3)
        await late.until(lambda: len(late.events) >= 3)
        await blind.until(lambda: blind.events)
    assert late.events == ids(2, 4)
    assert blind.events == ids(4, 4)


class Slow:
    """A client that reads nothing until it is told to."""

    def __init__(self, raw: Raw, after: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        self._raw, self._after = raw, after

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self._raw.server.port))
        request = f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {self._after}\r\n\r\n"
        await loop.sock_sendall(self.socket, request.encode())

    async def read(self) -> Reading:
        """Everything until the end."""
        found, loop = b"", asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S):
            while some := await loop.sock_recv(self.socket, 65536):
                found += some
        self.socket.close()
        body, rest = b"", found.partition(b"\r\n\r\n")[2]
        while (size := int(rest.partition(b"\r\n")[0], 16)) > 0:
            rest = rest.partition(b"\r\n")[2]
            body, rest = body + rest[:size], rest[size + 2 :]
        reading = Reading()
        for line in body.decode().splitlines():
            reading.line(line)
        return reading


SLOW = 20


async def test_slow_clients_are_dropped_with_a_word_and_come_back_without_a_loss(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hegemon.api.exchange.LINGER_S", 10 * PATIENCE_S)
    now_s = time.monotonic()
    monkeypatch.setattr(raw.streams, "_now_s", lambda: now_s)
    slow, told = [Slow(raw, "0") for _ in range(SLOW)], 0
    for one in slow:
        await one.begin()
    await wait_until(lambda: raw.streams.open == SLOW)
    async with listening(raw.server.url) as quick:
        while sum(stream.waits_s is not None for stream in raw.streams._streams) < SLOW and told < 20_000:
            for _ in range(100):
                raw.node.happen("office.lost", "warning", reason="x" * 400)
                told += 1
            await quick.told(told)
        # The quick one waits for nothing: however long that takes, it is none of them.
        await wait_until(lambda: any(stream.live for stream in raw.streams._streams))
        assert raw.streams.dropped == 0
        now_s += activity_streams.STALLED_S + 1
        await wait_until(lambda: raw.streams.open == 1)
        assert raw.streams.dropped == SLOW
        raw.node.happen("office.vacated", epoch=1)
        await quick.told(told + 1)
        ends = [await one.read() for one in slow]
        for read in ends:
            assert read.last_word["code"] == "too_slow"
            assert read.last_word["resume"] is True
            assert read.events == ids(1, len(read.events))
        async with listening(raw.server.url, after=ends[-1].last_id) as again:
            await again.told(told + 1 - len(ends[-1].events))
            assert ends[-1].events + again.events == quick.events == ids(1, told + 1)


async def test_a_client_that_falls_further_and_further_behind_is_dropped_although_it_reads(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(raw.streams, "_now_s", lambda: now_s)
    slow = Slow(raw, "0")
    await slow.begin()
    await wait_until(lambda: raw.streams.open == 1)
    (stream,) = raw.streams._streams
    told = 0
    while raw.node.feed.head - stream.position <= activity_streams.BEHIND_MAX and told < 20_000:
        for _ in range(100):
            raw.node.happen("office.lost", "warning", reason="x" * 400)
        told += 100
        await wait_until(lambda told=told: raw.node.feed.read_to == told)  # type: ignore[misc]
    await wait_until(lambda: stream.behind_s is not None)
    # It reads a little, now and then; what it has yet to read is never less.
    monkeypatch.setattr(activity_streams, "STALLED_S", 10 * PATIENCE_S)
    for _ in range(3):
        raw.pass_time(10)
    assert raw.streams.dropped == 0
    now_s += activity_streams.BEHIND_S + 1
    await wait_until(lambda: raw.streams.dropped == 1)
    assert (await slow.read()).last_word["code"] == "too_slow"


async def test_one_stream_too_many_is_turned_away_until_another_one_ends() -> None:
    async with raw_server(max_activity_streams=1) as raw:
        async with (
            listening(raw.server.url),
            httpx.AsyncClient(base_url=raw.server.url, timeout=PATIENCE_S, trust_env=False) as client,
        ):
            answer = await client.get(STREAM)
            assert_problem(answer, 503, "too_many_streams")
            assert int(answer.headers["retry-after"]) > 0
        await wait_until(lambda: raw.streams.open == 0)
        async with listening(raw.server.url):
            assert raw.streams.open == 1


async def test_a_node_that_stops_ends_its_streams_and_waits_for_no_slow_one() -> None:
    async with raw_server() as raw:
        slow = Slow(raw, "0")
        for _ in range(300):
            raw.node.happen("office.lost", "warning", reason="x" * 400)
        await slow.begin()
        async with listening(raw.server.url, after="0") as reading:
            await wait_until(lambda: raw.streams.open == 2)
            raw.streams.close()
            # Far beyond what a test may take.
            await raw.server.stop(10 * PATIENCE_S)
            await reading.until_over()
            assert reading.last_word["code"] == "stopping"
        slow.socket.close()


async def test_a_stream_outlives_the_time_that_a_request_may_take_and_a_comment_says_that_somebody_is_there(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_streams, "KEEP_ALIVE_S", 0.0)
    async with listening(raw.server.url, params={"kind": "job."}) as reading:
        raw.node.happen("office.vacated", epoch=1)
        for _ in range(3):
            raw.pass_time(10)
            await asyncio.sleep(0)
        assert raw.crowd.weight == 0
        await reading.until(lambda: reading.comments > 3 and reading.last_id == "1")
    assert not reading.ended


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_stream_ends_with_its_credential_and_not_one_event_later(
    mongo_server: MongoServer, database: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_secured(mongo_server.uri, database) as secured:
        issued = secured.identity.logins.service_token("one", Role.USER, ttl=TTL, queues=("mail",))
        headers = {"authorization": f"Bearer {issued.token}"}
        async with (
            listening(secured.url, headers=headers) as reading,
            listening(secured.url, headers=secured.headers("viewer")) as other,
        ):
            for queue in ("secret", "mail"):
                secured.jobs.happen("job.cancelled", job="a", type="email", queue=queue, worker=None)
            await reading.until(lambda: reading.events)
            if how == "revoked":
                await secured.identity.revocations.revoke("token", issued.id)
            else:
                clock = secured.identity.tokens._clock
                now_ms = clock.now_ms() + int(TTL.total_seconds() * 1000)
                monkeypatch.setattr(type(clock), "now_ms", lambda _: now_ms)
            secured.jobs.happen("job.cancelled", job="b", type="email", queue="mail", worker=None)
            await reading.until_over()
            assert reading.last_word["code"] == {"revoked": "unauthenticated", "expired": "token_expired"}[how]
            assert reading.last_word["resume"] is (how == "expired")
            assert [event["fields"]["queue"] for event in reading.named("message")] == ["mail"]
            if how == "revoked":
                await other.until(lambda: len(other.events) == 3)
                assert not other.ended


async def test_a_stream_is_for_readers_alone(mongo_server: MongoServer, database: str) -> None:
    async with (
        open_secured(mongo_server.uri, database) as secured,
        httpx.AsyncClient(base_url=secured.url, timeout=PATIENCE_S, trust_env=False) as client,
    ):
        assert_problem(await client.get(STREAM), 401, "unauthenticated")
        assert_problem(await client.get(STREAM, headers=secured.headers("worker")), 403, "forbidden")
