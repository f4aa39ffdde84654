"""What browsers are told, and what they may not do here."""

import json
from typing import Any

import pytest

from tests.api.raw_http import GET, JOBS, Answer, Raw, raw_server

SITE = "https://jobs.example.com"
CANCEL = f"POST {JOBS}/x/cancel HTTP/1.1\r\n".encode()


async def ask(raw: Raw, line: bytes, **headers: str) -> Answer:
    """One request; underscores in names of headers are dashes."""
    peer = await raw.connect()
    given = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await peer.ask(line + b"".join(f"{name}: {value}\r\n".encode() for name, value in given.items()) + b"\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"GET /nothing/here HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PUT /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        b"this is no HTTP\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    ],
    ids=["good", "unknown path", "description", "head", "wrong method", "no http", "large head"],
)
async def test_every_answer_has_the_security_headers(request_: bytes) -> None:
    async with raw_server() as raw:
        peer = await raw.connect()
        peer.send(request_)
        head = (await peer._reader.readuntil(b"\r\n\r\n")).decode().lower()
    for line in (
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; frame-ancestors 'none'",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "x-request-id: ",
    ):
        assert f"\r\n{line}" in head
    assert "strict-transport-security" not in head  # that is for HTTPS
    assert "\r\nserver:" not in head
    assert "set-cookie" not in head


async def test_what_is_no_http_is_answered_with_a_problem() -> None:
    async with raw_server() as raw:
        answer = await (await raw.connect()).ask(b"this is no HTTP\r\n\r\n")
        assert (answer.status, answer.code, answer.closes) == (400, "malformed_request", True)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_no_site_reads_answers_unless_it_is_named() -> None:
    async with raw_server(origins=(SITE,)) as raw:
        own = await ask(raw, b"GET /livez HTTP/1.1\r\n", origin=SITE)
        assert own.headers["access-control-allow-origin"] == SITE
        assert own.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in own.headers
        for foreign in ("https://evil.example", SITE + ".evil.example", SITE.upper(), "null", "https://jobs.example"):
            answer = await ask(raw, b"GET /livez HTTP/1.1\r\n", origin=foreign)
            assert not any(name.startswith("access-control") for name in answer.headers)


async def test_an_error_too_can_be_read_by_a_named_site() -> None:
    async with raw_server(origins=(SITE,)) as raw:
        answer = await ask(raw, b"GET /nothing HTTP/1.1\r\n", origin=SITE)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (404, SITE)


async def test_a_preflight_is_answered_to_named_sites_alone() -> None:
    asks: dict[str, Any] = {"access_control_request_method": "POST"}
    async with raw_server(origins=(SITE,)) as raw:
        own = await ask(raw, f"OPTIONS {JOBS} HTTP/1.1\r\n".encode(), origin=SITE, **asks)
        assert own.status == 204
        assert own.headers["access-control-allow-origin"] == SITE
        assert own.headers["access-control-allow-methods"] == "GET, HEAD, POST"
        assert "authorization" in own.headers["access-control-allow-headers"]
        foreign = await ask(raw, f"OPTIONS {JOBS} HTTP/1.1\r\n".encode(), origin="https://evil.example", **asks)
        assert foreign.status == 405
        assert not any(name.startswith("access-control") for name in foreign.headers)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
async def test_a_change_from_another_site_is_refused_although_it_needs_no_preflight(origin: str) -> None:
    async with raw_server(open_node=True) as raw:
        answer = await ask(raw, CANCEL, content_length="0", origin=origin)
        assert (answer.status, answer.code) == (403, "forbidden")


async def test_a_change_from_the_own_site_a_named_one_or_no_browser_goes_on() -> None:
    async with raw_server(open_node=True, origins=(SITE,)) as raw:
        for headers in ({"origin": "http://localhost"}, {"origin": SITE}, {}):
            answer = await ask(raw, CANCEL, content_length="0", **headers)
            assert (answer.status, answer.code) == (404, "job_not_found")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_form_cannot_submit_a_job(kind: str) -> None:
    async with raw_server() as raw:
        body = json.dumps({"type": "echo"})
        answer = await ask(raw, f"POST {JOBS} HTTP/1.1\r\n".encode(), content_type=kind, content_length=str(len(body)))
        assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("jobs.localhost", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("n1:8080", 200),
        ("rebound.evil.example", 421),
        ("rebound.evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
    ],
)
async def test_a_node_without_authentication_answers_to_no_name_that_a_stranger_can_own(host: str, status: int) -> None:
    async with raw_server(open_node=True) as raw:
        assert (await ask(raw, b"GET /livez HTTP/1.1\r\n", host=host)).status == status
    async with raw_server(open_node=False) as raw:
        assert (await ask(raw, b"GET /livez HTTP/1.1\r\n", host=host)).status == 200
