"""The clients and the command line against a node's API over TLS."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hegemon.api.server import ApiServer
from hegemon.api.tls import ServerTls, TlsFiles
from hegemon.client import AsyncClient, Client, Unreachable
from hegemon.cluster.limit_settings import LimitSettings
from tests.certificates import Authority
from tests.cli.conftest import Run

BODY = b'{"node_id":"n1","version":"1"}'


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Answers everything with one JSON document."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


@pytest.fixture
def url(authority: Authority, server_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that asks for a client's certificate of the same authority."""
    for name in ("HEGEMON_CA_FILE", "HEGEMON_CLIENT_CERT"):
        monkeypatch.setenv(name, "")  # what a command sets is taken back with it
    node = authority.write("n1")

    async def start() -> ApiServer:
        tls = ServerTls(TlsFiles(node.certificate, node.key, authority.certificate, "required"))
        # However slow this machine is, no handshake is cut off.
        patient = LimitSettings(header_timeout=timedelta(hours=1))
        server = ApiServer(_app, host="127.0.0.1", port=0, tls=tls, limits=patient)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), server_loop).result()
    yield server.url
    asyncio.run_coroutine_threadsafe(server.stop(1.0), server_loop).result()


def test_a_client_with_authority_and_certificate_is_answered_and_one_without_is_not(
    url: str, authority: Authority
) -> None:
    mine = str(authority.write("me").both)
    with Client(url, ca_file=str(authority.certificate), client_cert=mine) as client:
        assert client.election()["node_id"] == "n1"
    wrongs: list[dict[str, Any]] = [{"ca_file": str(authority.certificate)}, {"client_cert": mine}, {}]
    for wrong in wrongs:
        with Client(url, retry_for=0, **wrong) as client, pytest.raises(Unreachable):
            client.election()


async def test_the_asynchronous_client_takes_both_from_the_environment(
    url: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEGEMON_CA_FILE", str(authority.certificate))
    monkeypatch.setenv("HEGEMON_CLIENT_CERT", str(authority.write("me").both))
    async with AsyncClient(url) as client:
        assert (await client.election())["node_id"] == "n1"


def test_the_command_line_takes_both_as_options(url: str, authority: Authority, bare_run: Run) -> None:
    options = ("--ca-file", str(authority.certificate), "--client-cert", str(authority.write("me").both))
    there = ("--url", url, "job", "get", "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a")
    assert "No answer from" in bare_run(*there).err
    assert "No answer from" not in bare_run(*options, *there).err


def test_a_file_that_cannot_be_used_is_named(url: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nonsense")
    wrongs: list[dict[str, Any]] = [{"ca_file": str(tmp_path / "absent.pem")}, {"client_cert": str(broken)}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"(absent|broken)\.pem cannot be used for TLS"):
            Client(url, **wrong)
