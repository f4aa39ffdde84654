"""What the two clients share of httpx: how a client is set up, how a reply or a failure becomes a value of ours."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, TypedDict
from urllib.parse import urlsplit

import httpx

from hegemon.client.calls import Call, Reply
from hegemon.client.errors import Unreachable
from hegemon.client.retrying import Lost


class Setup(TypedDict):
    """Arguments for `httpx.Client` and `httpx.AsyncClient`."""

    base_url: httpx.URL
    trust_env: bool
    verify: ssl.SSLContext | bool
    headers: dict[str, str]


def setup(url: str, ca_file: str | None = None, client_cert: str | None = None) -> Setup:
    """Arguments for the httpx client of a node; raises ValueError when `url` is not one, or a file cannot be used.

    `ca_file` and `client_cert` are as in `Client`.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        base = httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        sound, base = False, httpx.URL("")
    if not sound:
        raise ValueError(f"the URL of a node looks like http://127.0.0.1:8080, not {url!r}")
    return Setup(
        base_url=base,
        trust_env=not _is_loopback(base.host),  # a proxy cannot know what this machine's loopback is
        # Loading the certificates of the world takes 20 ms; a plain connection needs none. This context trusts nobody.
        verify=_trust(ca_file, client_cert) if base.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        headers={"user-agent": "hegemon-client"},
    )


def _trust(ca_file: str | None, client_cert: str | None) -> ssl.SSLContext | bool:
    ca_file = ca_file or os.environ.get("HEGEMON_CA_FILE") or None
    client_cert = client_cert or os.environ.get("HEGEMON_CLIENT_CERT") or None
    if ca_file is None and client_cert is None:
        return True
    name = ca_file
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if client_cert is not None:
            name = client_cert
            # Without a password of ours OpenSSL would ask for one on the terminal, and wait.
            context.load_cert_chain(client_cert, password="")
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"{name} cannot be used for TLS: {error.strerror or error}") from error
    return context


def request(call: Call[Any], timeout_s: float, more_headers: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments for `request()`; the node may hold its answer back for `patience_s` more."""
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.params),
        "content": call.body,
        "headers": {**call.headers, **more_headers},
        "timeout": httpx.Timeout(timeout_s, read=timeout_s + call.patience_s),
    }


def reply(response: httpx.Response) -> Reply:
    """What came back, without httpx."""
    return Reply(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def lost(error: httpx.RequestError) -> Lost:
    """A failed exchange. Only an error of connecting proves that nothing was sent."""
    reason = "it took too long" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return Lost(reason, sent=not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)))


def unreachable(
    call: Call[Any], outcome: Lost, base: httpx.URL, *, sent: bool, request_id: str | None = None
) -> Unreachable:
    """The error to raise when the last try was lost."""
    error = Unreachable(str(base).rstrip("/"), outcome.reason, sent=sent, idempotency_key=call.key)
    error.request_id = request_id
    return error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
