"""What browsers may do here for which sites. Closed by default: no site but those of CORS_ORIGINS reads an answer, and
no other site's page can make a browser change something.

Nothing here is authenticated by a cookie, so a foreign page has no rights to abuse, with one exception: a node without
authentication takes whoever reaches it, and the pages in its user's browser do. Hence two more checks. A change that
bears another site's Origin is refused (cross-site request forgery), and a node without authentication answers only to
addresses, to `localhost` and to names without a dot, so that no page can rename itself into this node (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from hegemon.api.call import Call
from hegemon.api.problems import ApiError
from hegemon.api.reply import Header, Reply

PREFLIGHT_S: Final = 600
ASKED: Final = b"authorization, content-type, idempotency-key, if-match, last-event-id, x-api-key, x-request-id"
SHOWN: Final = (
    b"etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id"
)
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_VARY: Final[Header] = (b"vary", b"Origin")


class Origins:
    """`allowed`: origins as browsers send them, `https://jobs.example.com`. `open_node`: authentication is off."""

    def __init__(self, allowed: Iterable[str] = (), *, open_node: bool = False) -> None:
        self._allowed = frozenset(origin.encode() for origin in allowed)
        self._open_node = open_node

    def check(self, call: Call, method: str) -> None:
        """Let a request through, with the headers that its answer needs; ApiError for a foreign site's."""
        headers = call.headers
        if self._open_node and not _is_own_name(headers.get(b"host", b"")):
            raise ApiError(
                "misdirected_request",
                "without authentication this node answers to addresses, localhost and names without a dot",
            )
        origin = headers.get(b"origin")
        if origin is None:
            return
        if origin in self._allowed:
            shown = ((b"access-control-allow-origin", origin), _VARY, (b"access-control-expose-headers", SHOWN))
            call.reply_headers = (*call.reply_headers, *shown)
        elif method not in _READS and origin.rpartition(b"://")[2] != headers.get(b"host"):
            raise ApiError("forbidden", "the request comes from another site, which CORS_ORIGINS does not name")

    def preflight(self, call: Call, methods: bytes) -> Reply | None:
        """The answer to a browser that asks whether it may; None if it may not, or does not ask."""
        headers = call.headers
        if headers.get(b"origin") not in self._allowed or b"access-control-request-method" not in headers:
            return None
        allowed = (
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", ASKED),
            (b"access-control-max-age", b"%d" % PREFLIGHT_S),
        )
        return Reply(204, headers=allowed)


@lru_cache(maxsize=256)
def _is_own_name(host: bytes) -> bool:
    """Whether a Host names what no stranger's domain can: an address, localhost, or a name without a dot."""
    text = host.decode("latin-1").strip().lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    name = name.removesuffix(".")
    if "." not in name and ":" not in name:
        return True
    if name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
