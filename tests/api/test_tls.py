"""The API over TLS: what is spoken, who is let in, and that renewed certificates are taken without a restart."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from hegemon.api import handshakes
from hegemon.api.server import ApiServer, metrics_app
from hegemon.api.tls import ServerTls, TlsError, TlsFiles
from hegemon.cluster.limit_settings import LimitSettings
from tests.api.memory import metrics_of
from tests.api.raw_http import no_sweep_of_its_own
from tests.certificates import Authority, Files
from tests.waiting import PATIENCE_S, output_of, wait_until

# However slow this machine is, no handshake of a test is cut off but by its sweep.
PATIENT = LimitSettings(header_timeout=timedelta(hours=1))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


@asynccontextmanager
async def serving(
    files: TlsFiles, *, check_s: float = 0.02, limits: LimitSettings = PATIENT
) -> AsyncIterator[tuple[ApiServer, ServerTls]]:
    tls = ServerTls(files, check_s=check_s)
    server = ApiServer(metrics_app(metrics_of(b"up 1\n")), host="127.0.0.1", port=0, tls=tls, limits=limits)
    with no_sweep_of_its_own():
        await server.start()
        try:
            yield server, tls
        finally:
            await server.stop(1.0)


def of(files: Files, **options: Any) -> TlsFiles:
    return TlsFiles(files.certificate, files.key, **options)


async def ask(server: ApiServer, context: ssl.SSLContext) -> int:
    async with httpx.AsyncClient(trust_env=False, verify=context, timeout=PATIENCE_S) as client:
        return (await client.get(f"{server.url}/metrics")).status_code


async def handshake(server: ApiServer, context: ssl.SSLContext) -> ssl.SSLObject:
    """The TLS of a new connection, closed again."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    made: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.close()
    return made


async def shown(server: ApiServer, authority: Authority) -> bytes:
    """The fingerprint of what a new connection is shown."""
    der = (await handshake(server, authority.trusting())).getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256())


def fingerprint(files: Files) -> bytes:
    return x509.load_pem_x509_certificate(files.certificate.read_bytes()).fingerprint(hashes.SHA256())


async def test_a_client_that_trusts_the_authority_is_answered_and_one_that_does_not_is_not(
    authority: Authority, tmp_path: Path
) -> None:
    async with serving(of(authority.write("n1"))) as (server, _):
        assert server.url.startswith("https://127.0.0.1:")
        assert await ask(server, authority.trusting()) == 200
        stranger = Authority(tmp_path / "stranger")
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await ask(server, stranger.trusting())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_have_forward_secrecy_authenticated_encryption_and_http_1_1(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.trusting()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(of(authority.write("n1"))) as (server, _):
        spoken = await handshake(server, context)
        cipher = spoken.cipher()
        assert cipher is not None
        name = cipher[0]
        assert name.startswith(("TLS_AES", "TLS_CHACHA20", "ECDHE-"))
        assert "GCM" in name or "CHACHA20" in name
        assert spoken.selected_alpn_protocol() == "http/1.1"
        assert spoken.compression() is None


@pytest.mark.parametrize(
    ("spoken", "how"),
    [
        (True, "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"),
        (True, "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305"),
        (False, "-tls1_1 -cipher DEFAULT:@SECLEVEL=0"),
        (False, "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA"),
        (False, "-tls1_2 -cipher AES256-GCM-SHA384"),
    ],
)
async def test_what_is_old_or_weak_is_not_spoken(authority: Authority, how: str, spoken: bool) -> None:
    async with serving(of(authority.write("n1"))) as (server, _):
        code, said = await output_of("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *how.split())
        assert (code == 0, b"Cipher is (NONE)" not in said) == (spoken, spoken), said
        assert await ask(server, authority.trusting()) == 200


async def test_plain_http_on_the_tls_port_is_not_answered_and_harms_nobody(authority: Authority) -> None:
    async with serving(of(authority.write("n1"))) as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"up 1" not in await reader.read()
        writer.close()
        assert await ask(server, authority.trusting()) == 200


# ---- renewal


async def test_new_connections_get_a_renewed_certificate_and_open_ones_go_on(authority: Authority) -> None:
    files = authority.write("n1")
    async with (
        serving(of(files)) as (server, tls),
        httpx.AsyncClient(trust_env=False, verify=authority.trusting(), timeout=PATIENCE_S) as open_before,
    ):
        assert (await open_before.get(f"{server.url}/metrics")).status_code == 200
        old = await shown(server, authority)
        assert old == fingerprint(files)
        authority.write("n1")
        await wait_until(lambda: tls.reloads == 1)
        new = await shown(server, authority)
        assert new == fingerprint(files) != old
        assert tls.certificate.fingerprint == new.hex()
        assert (await open_before.get(f"{server.url}/metrics")).status_code == 200


@pytest.mark.parametrize("how", ["mismatched", "half", "garbage", "gone", "expired", "passphrase"])
async def test_a_pair_that_cannot_be_used_is_refused_once_and_the_old_one_stays(authority: Authority, how: str) -> None:
    files = authority.write("n1")
    with structlog.testing.capture_logs() as logs:
        async with serving(of(files)) as (server, tls):
            before = await shown(server, authority)
            break_pair(authority, files, how)
            await wait_until(lambda: any(line["event"] == "tls_reload_refused" for line in logs))
            assert await shown(server, authority) == before
            # A good pair after a bad one is taken as if nothing had been.
            authority.write("n1")
            await wait_until(lambda: tls.reloads)
            assert await shown(server, authority) == fingerprint(files)
    refused = [line for line in logs if line["event"] == "tls_reload_refused"]
    assert len({line["reason"] for line in refused}) <= 2  # the replacement of two files may be met half done
    assert REASONS[how] in refused[0]["reason"]


REASONS = {
    "mismatched": "they do not belong together",
    "half": "TLS_CERT_FILE and TLS_KEY_FILE",
    "garbage": "TLS_CERT_FILE and TLS_KEY_FILE",
    "gone": "No such file",
    "expired": "ended on",
    "passphrase": "has a passphrase",
}


def break_pair(authority: Authority, files: Files, how: str) -> None:
    other = authority.issue("n1")
    if how == "mismatched":
        files.certificate.write_bytes(other.certificate)
    elif how == "half":
        files.certificate.write_bytes(other.certificate[:300])
    elif how == "garbage":
        files.key.write_bytes(b"nonsense")
    elif how == "gone":
        files.key.unlink()
    elif how == "expired":
        authority.write("n1", authority.ended("n1"))
    else:
        lock = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(files.key)]
        locked = subprocess.run(lock, check=True, capture_output=True).stdout
        files.key.write_bytes(locked)


async def test_a_look_takes_the_files_at_once_however_long_the_checks_are_apart(authority: Authority) -> None:
    files = authority.write("n1")
    async with serving(of(files), check_s=3600) as (server, tls):
        authority.write("n1")
        tls.look()
        await wait_until(lambda: tls.reloads == 1)
        assert await shown(server, authority) == fingerprint(files)


@pytest.mark.parametrize(("days", "told"), [(13, True), (15, False)])
async def test_a_certificate_that_ends_soon_is_told_of_and_one_that_does_not_is_not(
    authority: Authority, days: int, told: bool
) -> None:
    files = authority.write("n1", authority.issue("n1", days=days))
    with structlog.testing.capture_logs() as logs:
        async with serving(of(files)) as (_, tls):
            authority.write("n1", authority.issue("n1", days=days))
            await wait_until(lambda: tls.reloads)
    assert ("tls_certificate_expires" in {line["event"] for line in logs}) is told


# ---- clients' certificates


async def test_required_lets_in_who_shows_a_certificate_of_the_authority_and_nobody_else(
    authority: Authority, tmp_path: Path
) -> None:
    clients = Authority(tmp_path / "clients")
    good = clients.write("ana")
    foreign = authority.write("bob")
    options: dict[str, Any] = {"client_ca": clients.certificate, "client_auth": "required"}
    async with serving(of(authority.write("n1"), **options)) as (server, _):
        assert await ask(server, authority.trusting(good)) == 200
        for client in (None, foreign):
            with pytest.raises(httpx.TransportError):
                await ask(server, authority.trusting(client))


async def test_optional_lets_in_who_shows_none_but_nobody_who_shows_a_wrong_one(
    authority: Authority, tmp_path: Path
) -> None:
    clients = Authority(tmp_path / "clients")
    options: dict[str, Any] = {"client_ca": clients.certificate, "client_auth": "optional"}
    async with serving(of(authority.write("n1"), **options)) as (server, _):
        assert await ask(server, authority.trusting()) == 200
        assert await ask(server, authority.trusting(clients.write("ana"))) == 200
        with pytest.raises(httpx.TransportError):
            await ask(server, authority.trusting(authority.write("bob")))


async def test_a_replaced_authority_of_clients_is_taken_too(authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path / "clients")
    was = authority.trusting(clients.write("ana"))
    options: dict[str, Any] = {"client_ca": clients.certificate, "client_auth": "required"}
    async with serving(of(authority.write("n1"), **options)) as (server, tls):
        assert await ask(server, was) == 200
        renewed = Authority(tmp_path / "clients")
        await wait_until(lambda: tls.reloads)
        with pytest.raises(httpx.TransportError):
            await ask(server, was)
        assert await ask(server, authority.trusting(renewed.write("ana"))) == 200


# ---- starting and stopping


def test_files_that_cannot_be_used_are_refused_at_start_by_name(authority: Authority, tmp_path: Path) -> None:
    files = authority.write("n1")
    broken = tmp_path / "broken.pem"
    broken.write_text("nonsense")
    for certificate in (broken, tmp_path / "absent.pem", authority.write("n2").certificate):
        with pytest.raises(TlsError, match="TLS_CERT_FILE and TLS_KEY_FILE"):
            ServerTls(TlsFiles(certificate, files.key))
    with pytest.raises(TlsError, match="TLS_CLIENT_CA_FILE"):
        ServerTls(of(files, client_ca=broken, client_auth="required"))


async def test_a_stop_does_not_wait_for_an_idle_peer_that_never_answers_the_goodbye(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "GOODBYE_S", 3600.0)
    tls = ServerTls(of(authority.write("n1")))
    server = ApiServer(metrics_app(metrics_of(b"up 1\n")), host="127.0.0.1", port=0, tls=tls)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=authority.trusting())
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"up 1\n")
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    # Without our own end to it TLS would wait an hour for this peer; the grace is for those who are still answered.
    async with asyncio.timeout(PATIENCE_S):
        await server.stop(3600.0)
    writer.transport.abort()
