"""Where a node may connect to on somebody's behalf: a URL that a person or a document names must not reach what only
this machine and its neighbours can (request forgery).

A name is resolved once, every address that it has is judged, and the connection goes to an address that was judged, so
a name whose answer changes between question and connection gains nothing. Redirects are not followed here.

- An address that is not global is refused: loopback, private, link-local (metadata services), shared, multicast,
  reserved; also inside IPv6 (mapped, NAT64); 6to4 and Teredo are refused whatever they hold.
- So are ports other than 80, 443, 8080 and 8443, and `http`, which anybody on the way can change.
- What is in EGRESS_ALLOW is exempt from all of these. A user or password in a URL is always refused.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import httpcore
import httpx

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

PORTS: Final = frozenset({80, 443, 8080, 8443})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# What `is_global` calls global in one version of Python or another: protocol assignments, relays, tunnels, and a
# cloud's service for the machine that asks.
_OTHERS: Final = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16", "64:ff9b:1::/48", "2001::/23", "2002::/16", "fec0::/10"),
    )
)


class EgressRefused(ValueError):
    """This node does not connect there."""


class EgressGuard:
    """Judges URLs and addresses. `allowed` are the networks of EGRESS_ALLOW."""

    def __init__(self, allowed: Iterable[IpNetwork] = ()) -> None:
        self._allowed = tuple(allowed)

    def check_url(self, url: httpx.URL) -> None:
        """What can be said before the name is resolved. EgressRefused."""
        if url.scheme not in ("http", "https") or not url.host:
            raise EgressRefused(f"{url.scheme or 'no scheme'}: only http and https URLs with a host are called")
        if url.userinfo:
            raise EgressRefused("a URL that is called may hold no user or password")

    def check_addresses(self, url: httpx.URL, addresses: Sequence[str]) -> list[str]:
        """The addresses that may be connected to: all of them, or EgressRefused. One forbidden address among others is
        no slip, so none of them is taken then."""
        port = url.port or (443 if url.scheme == "https" else 80)
        for text in addresses:
            address = ipaddress.ip_address(text.partition("%")[0])
            if self._is_allowed(address):
                continue
            if not is_public(address):
                raise EgressRefused(f"{url.host} is {address}, which is not a public address and not in EGRESS_ALLOW")
            if port not in PORTS:
                raise EgressRefused(f"port {port} of {url.host} is none of {', '.join(map(str, sorted(PORTS)))}")
            if url.scheme != "https":
                raise EgressRefused(f"{url.host} would be called without TLS; only EGRESS_ALLOW may be")
        if not addresses:
            raise EgressRefused(f"{url.host} has no address")
        return list(addresses)

    def _is_allowed(self, address: IpAddress) -> bool:
        # An IPv6 address is not in an IPv4 network, whatever it holds: what is wanted is said in its own form.
        return any(address in network for network in self._allowed)


def is_public(address: IpAddress) -> bool:
    """Whether an address is one of the open internet, also the one that it holds."""
    if not address.is_global or address.is_multicast or any(address in network for network in _OTHERS):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    mapped = address.ipv4_mapped
    if mapped is None and address in _NAT64:
        mapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return mapped is None or is_public(mapped)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name. OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient` that connects only where the guard allows. Raises EgressRefused, and what
    httpx raises.
    """

    def __init__(self, guard: EgressGuard, *, resolve: Resolve = resolve) -> None:
        self._guard = guard
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        self._guard.check_url(url)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await self._resolve(url.host, port)
        except OSError as error:
            raise httpx.ConnectError(f"{url.host} cannot be resolved: {error}", request=request) from error
        addresses = self._guard.check_addresses(url, found)
        # A pool of this one request: a connection that is kept would be used again for a name that was not judged.
        pool = httpcore.AsyncConnectionPool(network_backend=_Pinned(addresses), retries=0)
        try:
            response = await pool.handle_async_request(_outgoing(request))
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            await pool.aclose()
            raise httpx.ConnectError(str(error) or type(error).__name__, request=request) from error
        except BaseException:
            await pool.aclose()
            raise
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response, pool), extensions=response.extensions
        )


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that were judged, whatever name is asked for; the name is still what TLS checks."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del host
        failed: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise EgressRefused("a socket file is not called")

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Body(httpx.AsyncByteStream):
    """The answer's body; its pool goes with it."""

    def __init__(self, response: httpcore.Response, pool: httpcore.AsyncConnectionPool) -> None:
        self._response = response
        self._pool = pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise httpx.ReadError(str(error) or type(error).__name__) from error

    async def aclose(self) -> None:
        await self._response.aclose()
        await self._pool.aclose()


def _outgoing(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )
