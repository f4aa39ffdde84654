"""From HOST:PORT to what a socket takes, without ever blocking the loop.

Numbers are taken as they are. Names are looked up on threads of our own, since a resolver may hang for many seconds
and must not take the threads of others; the last answer is kept and used until a newer one has come, and a name is
looked up again whenever its node is asked for: containers change their addresses.
"""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

# Host and port, and for IPv6 what a socket adds to them.
SocketAddress = tuple[Any, ...]
AGAIN_S: Final = 1.0
_KNOWN_MAX: Final = 4096


def split(address: str) -> tuple[str, int]:
    """HOST:PORT or [V6]:PORT. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"not a HOST:PORT: {address!r}")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError(f"not a HOST:PORT: {address!r}")
    return host, int(port)


def join(host: str, port: int) -> str:
    """The text of an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Addresses:
    """Resolves for a socket of one family; an IPv6 socket reaches IPv4 hosts by their mapped addresses."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self._family = family
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="resolve")
        self._known: dict[str, tuple[SocketAddress, float]] = {}
        self._asking: dict[str, asyncio.Future[SocketAddress | None]] = {}

    def known(self, address: str) -> SocketAddress | None:
        """What is known without looking anything up."""
        known = self._known.get(address)
        if known is not None:
            return known[0]
        number = self._number(address)
        if number is not None:
            self._keep(address, number, float("inf"))
        return number

    def fresh(self, address: str) -> bool:
        """Whether there is no use in looking it up (again) now."""
        known = self._known.get(address)
        return address in self._asking or (known is not None and known[1] >= time.monotonic())

    def doubt(self, address: str) -> None:
        """The node behind a name was started anew, perhaps elsewhere: use the old answer no more."""
        known = self._known.get(address)
        if known is not None and known[1] != float("inf"):
            del self._known[address]

    async def resolve(self, address: str) -> SocketAddress | None:
        """Look a name up, together with whoever waits for the same; None, or the last answer, if it has none."""
        asking = self._asking.get(address)
        if asking is None:
            known = self.known(address)
            if known is not None and self.fresh(address):
                return known
            asking = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, address)
            self._asking[address] = asking
            asking.add_done_callback(lambda _: self._asking.pop(address, None))
        found = await asyncio.shield(asking)
        if found is not None:
            self._keep(address, found, time.monotonic() + AGAIN_S)
        return found or self.known(address)

    def close(self) -> None:
        """Forget what is being looked up; a thread that hangs in the resolver ends with it."""
        for asking in list(self._asking.values()):
            asking.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _keep(self, address: str, found: SocketAddress, until: float) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[address] = (found, until)

    def _number(self, address: str) -> SocketAddress | None:
        try:
            host, port = split(address)
        except ValueError:
            return None
        if self._family is socket.AF_INET6:
            for candidate in (host, f"::ffff:{host}"):
                if _is_number(socket.AF_INET6, candidate):
                    return candidate, port
            return None
        return (host, port) if _is_number(socket.AF_INET, host) else None

    def _look_up(self, address: str) -> SocketAddress | None:
        try:
            host, port = split(address)
            flags = socket.AI_V4MAPPED if self._family is socket.AF_INET6 else 0
            found = socket.getaddrinfo(host, port, self._family, socket.SOCK_DGRAM, 0, flags)
        except (OSError, ValueError):  # UnicodeError, of names that cannot be, is a ValueError
            return None
        return found[0][4] if found else None


def _is_number(family: socket.AddressFamily, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def open_pair(family: socket.AddressFamily, host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A datagram socket and a listening-to-be stream socket on one port number; port 0 finds one that both can have.
    Raises OSError."""
    for attempt in range(100):
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        streams = socket.socket(family, socket.SOCK_STREAM)
        try:
            for each in (datagrams, streams):
                each.setblocking(False)
                if family is socket.AF_INET6:
                    each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            # A burst from many peers must find room; the system grants what it allows.
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            datagrams.bind((host, port))
            streams.bind((host, datagrams.getsockname()[1]))
            streams.listen(128)
            return datagrams, streams
        except OSError:
            datagrams.close()
            streams.close()
            if port != 0 or attempt == 99:
                raise
    raise AssertionError("the loop returns or raises")
