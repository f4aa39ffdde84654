"""The headers that every answer of a server has, whoever writes it: handler, router, or the connection itself."""

from __future__ import annotations

from typing import Final

HSTS_S: Final = 365 * 24 * 3600

# An API has no page: nothing may run, load, frame or cache what it answers, or guess another type for it.
_ALWAYS: Final = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
# Over plain HTTP the header means nothing, and browsers ignore it.
_WITH_TLS: Final = (("strict-transport-security", f"max-age={HSTS_S}"),)
# For an answer that goes through a trusted proxy, and from there over TLS.
STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=%d" % HSTS_S)


def security_headers(*, tls: bool) -> list[tuple[str, str]]:
    """Name and value of each, for a server that speaks TLS or does not."""
    return [*_ALWAYS, *(_WITH_TLS if tls else ())]
