"""Whose request it is: the peer of the connection, or whom the proxies in front of the node say that they speak for.

What a stranger writes into X-Forwarded-For is believed by nobody: the header counts only when the connection comes from
a network of TRUSTED_PROXIES, and is read from its right end, where the nearest proxy wrote, up to the first address
that is no trusted proxy. `Forwarded` (RFC 7239) is ignored: one header, one reading.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN: Final = "unknown"
# More proxies than anybody puts in a row: further entries are the caller's own.
HOPS_MAX: Final = 16
_CACHED: Final = 10_000
# An IPv6 site is given a /64 at least, and may call from each of its addresses.
_IPV6_SITE_BITS: Final = 64


class Proxies:
    """The networks whose connections may speak for others."""

    def __init__(self, networks: Sequence[IpNetwork] = ()) -> None:
        self._networks = tuple(networks)
        # Connections come again and again from the same few proxies.
        self._trusts = functools.lru_cache(maxsize=_CACHED)(self._is_trusted)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def client(self, scope: Any, headers: Mapping[bytes, bytes]) -> str:
        """The address of whoever asks, as `ipaddress` writes it; "unknown" if the connection has none."""
        peer = scope["client"]
        if peer is None:
            return UNKNOWN
        address: str = peer[0]
        if not self._networks:
            return address
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is None or not self._trusts(address):
            return address
        return self._behind(address, forwarded)

    def secure(self, scope: Any, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the caller's own connection is encrypted, to this node or to the proxy that it came to."""
        if scope["scheme"] == "https":
            return True
        peer = scope["client"]
        if peer is None or not self._networks or not self._trusts(peer[0]):
            return False
        # The nearest proxy's word, which stands last.
        return headers.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip().lower() == b"https"

    def _behind(self, peer: str, forwarded: bytes) -> str:
        found = peer
        for entry in forwarded.decode("latin-1").split(",")[: -HOPS_MAX - 1 : -1]:
            address = read_address(entry)
            if address is None:
                # A trusted proxy passed on what is no address: it is the last one that we know.
                return found
            found = str(address)
            if not self._trusts(found):
                return found
        return found

    def _is_trusted(self, text: str) -> bool:
        address = read_address(text)
        return address is not None and any(address in network for network in self._networks)


NO_PROXIES: Final = Proxies()


def read_address(text: str) -> IpAddress | None:
    """An address as proxies write it: bare, with a port, or in brackets; None for anything else. An IPv4 address that
    was mapped into IPv6 is the IPv4 address."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@functools.lru_cache(maxsize=_CACHED)
def limit_key(address: str) -> str:
    """What limits count by: an IPv4 address, or the /64 around an IPv6 address."""
    found = read_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((found, _IPV6_SITE_BITS), strict=False))
    return address if found is None else str(found)
