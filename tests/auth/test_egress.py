"""Where a node may connect to: what a document or a person names does not reach the node's own neighbours."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from hegemon.auth.egress import EgressGuard, EgressRefused, GuardedTransport, is_public
from tests.waiting import PATIENCE_S

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
INSIDE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104 -- to be refused
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata, at most clouds
    "100.100.100.200",  # metadata, at one more
    "192.0.0.192",
    "168.63.129.16",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_the_open_internets_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(EgressRefused):
        EgressGuard().check_addresses(httpx.URL("https://keys.example"), [address])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_an_address_of_the_open_internet_is_allowed(address: str) -> None:
    assert EgressGuard().check_addresses(httpx.URL("https://keys.example"), [address]) == [address]


def test_one_inner_address_among_public_ones_refuses_all() -> None:
    with pytest.raises(EgressRefused, match=r"127\.0\.0\.1"):
        EgressGuard().check_addresses(httpx.URL("https://keys.example"), ["8.8.8.8", "127.0.0.1"])


@pytest.mark.parametrize("url", ["https://keys.example:6379", "https://keys.example:22", "http://keys.example"])
def test_other_ports_and_plain_http_are_refused_unless_the_network_is_allowed(url: str) -> None:
    with pytest.raises(EgressRefused):
        EgressGuard().check_addresses(httpx.URL(url), ["8.8.8.8"])
    allowing = EgressGuard([ipaddress.ip_network("8.8.8.0/24")])
    assert allowing.check_addresses(httpx.URL(url), ["8.8.8.8"]) == ["8.8.8.8"]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://x/", "ftp://x/", "https://u:p@x/", "unix:/run/x", "/x"]
)
def test_other_schemes_and_passwords_are_refused_before_anything_is_resolved(url: str) -> None:
    with pytest.raises(EgressRefused):
        EgressGuard([LOOPBACK]).check_url(httpx.URL(url))


def test_an_allowed_network_allows_no_other() -> None:
    guard = EgressGuard([ipaddress.ip_network("10.1.0.0/16")])
    assert guard.check_addresses(httpx.URL("http://a:9000"), ["10.1.2.3"])
    with pytest.raises(EgressRefused):
        guard.check_addresses(httpx.URL("http://a:9000"), ["10.2.2.3"])


class Served:
    """A little HTTP server on loopback that says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        if "/elsewhere" in head:
            writer.write(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    served = Served()
    async with await asyncio.start_server(served.answer, "127.0.0.1", 0) as server:
        served.port = server.sockets[0].getsockname()[1]
        yield served


class Names:
    """A resolver whose answers follow each other, as those of a name that is rebound."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        del host, port
        self.asked += 1
        return self.answers.pop(0)


async def test_a_connection_goes_to_the_address_that_was_judged_under_the_name_that_was_asked_for() -> None:
    names = Names(["127.0.0.1"])
    transport = GuardedTransport(EgressGuard([LOOPBACK]), resolve=names.resolve)
    async with serving() as served, httpx.AsyncClient(transport=transport, timeout=PATIENCE_S) as client:
        answer = await client.get(f"http://keys.example:{served.port}/jwks?a=b", headers={"x-one": "1"})
        assert (answer.status_code, answer.text) == (200, "hi")
        assert served.asked[0].startswith("GET /jwks?a=b HTTP/1.1")
        assert f"keys.example:{served.port}" in served.asked[0]
    # Asked once: there is no second answer that could differ from the one that was judged.
    assert names.asked == 1


async def test_a_name_that_is_rebound_to_loopback_reaches_nothing() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    transport = GuardedTransport(EgressGuard(), resolve=names.resolve)
    async with serving() as served, httpx.AsyncClient(transport=transport, timeout=PATIENCE_S) as client:
        for url in (f"http://keys.example:{served.port}/", f"https://keys.example:{served.port}/"):
            with pytest.raises(EgressRefused):
                await client.get(url)
        assert served.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]"])
async def test_loopback_is_refused_however_it_is_written(host: str) -> None:
    async with (
        serving() as served,
        httpx.AsyncClient(transport=GuardedTransport(EgressGuard()), timeout=PATIENCE_S) as client,
    ):
        with pytest.raises((EgressRefused, httpx.ConnectError)):
            await client.get(f"http://{host}:{served.port}/")
        assert served.asked == []


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    transport = GuardedTransport(EgressGuard([LOOPBACK]))
    async with serving() as served, httpx.AsyncClient(transport=transport, timeout=PATIENCE_S) as client:
        assert (await client.get(f"http://127.0.0.1:{served.port}/elsewhere")).status_code == 302
        assert len(served.asked) == 1


async def test_a_redirect_that_a_client_follows_is_judged_again() -> None:
    transport = GuardedTransport(EgressGuard([LOOPBACK]))
    async with (
        serving() as served,
        httpx.AsyncClient(transport=transport, follow_redirects=True, timeout=PATIENCE_S) as client,
    ):
        with pytest.raises(EgressRefused, match=r"169\.254"):
            await client.get(f"http://127.0.0.1:{served.port}/elsewhere")


async def test_nobody_listening_is_an_error_of_httpx() -> None:
    async with serving() as served:
        port = served.port
    async with httpx.AsyncClient(transport=GuardedTransport(EgressGuard([LOOPBACK])), timeout=PATIENCE_S) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/")
