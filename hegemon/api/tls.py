"""The TLS that the API speaks, and how a renewed certificate takes effect without a restart.

TLS 1.2 and 1.3, only suites with forward secrecy and authenticated encryption, no compression, no renegotiation. Every
connection takes the context that is current when it begins, whole: certificate, key and authority of clients are never
mixed from two states of the files.

======================================  ================================================================
what happens to the files               what the server does
======================================  ================================================================
replaced by a pair that fits            loads it within CHECK_S, or on `look()`; open connections go on
replaced by one that does not fit,      says so once, keeps what it has, tries again when they change
half written, expired, removed
its end is nearer than EXPIRY_DAYS      says so, once a day
======================================  ================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

import structlog

from hegemon.auth.certificates import Certificate, CertificateError, read_certificates

log = structlog.get_logger(__name__)

ClientAuth = Literal["off", "optional", "required"]

CHECK_S: Final = 5.0
EXPIRY_DAYS: Final = 14
# How long an idle peer may take to answer our goodbye when we stop; one that still reads an answer has longer.
FAREWELL_S: Final = 1.0
# TLS 1.2 only; the suites of TLS 1.3 are all of this kind.
_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_DAY_S: Final = 86_400.0
_VERIFY: Final = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class TlsError(ValueError):
    """Certificate, key or the clients' authority cannot be used; the message names the settings and says why."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the certificate with its chain, its key, and the authority of clients unless `client_auth` is off."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_auth: ClientAuth = "off"

    def states(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What differs once a file was written or replaced; None for one that is not there."""
        paths = (self.certificate, self.key, *((self.client_ca,) if self.client_ca else ()))
        return tuple(_state(path) for path in paths)


def load_context(files: TlsFiles) -> tuple[ssl.SSLContext, Certificate]:
    """A new context of these files, and what its certificate says. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1  # an API's client resumes one connection, if any
    try:
        # Without this OpenSSL would ask for a passphrase on the terminal, and wait.
        context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
        certificate = read_certificates(files.certificate.read_bytes())[0]
    except (OSError, CertificateError, _Passphrase) as error:  # ssl.SSLError is an OSError
        names = f"TLS_CERT_FILE and TLS_KEY_FILE ({files.certificate} and {files.key})"
        raise TlsError(f"{names} cannot be used: {_reason(error)}") from error
    if files.client_ca is not None and files.client_auth != "off":
        try:
            context.load_verify_locations(files.client_ca)
        except OSError as error:
            raise TlsError(f"TLS_CLIENT_CA_FILE ({files.client_ca}) cannot be used: {_reason(error)}") from error
        context.verify_mode = _VERIFY[files.client_auth]
    return context, certificate


class LiveContext(ssl.SSLContext):
    """A context for a listening server that lends each new connection the one that is current."""

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> Self:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self.current = current
        return self

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """What asyncio and uvloop begin each connection with."""
        return self.current.wrap_bio(*args, **kwargs)


class ServerTls:
    """The TLS of one server: `context` to listen with, `certificate` as it is shown now. `run()` watches the files."""

    def __init__(self, files: TlsFiles, *, check_s: float = CHECK_S) -> None:
        """Raises TlsError when the files cannot be used."""
        self.files = files
        self._check_s = check_s
        self._seen = files.states()
        current, self.certificate = load_context(files)
        self.context = LiveContext(current)
        self._looking = asyncio.Event()
        self.reloads = 0

    def look(self) -> None:
        """Load the files again at once, changed or not."""
        self._seen = ()
        self._looking.set()

    async def run(self) -> None:
        """Watch until cancelled. The files are read in a thread: they may lie on a slow disk."""
        warn_s = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() >= warn_s:
                self._warn_of_expiry()
                warn_s = loop.time() + _DAY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._check_s):
                    await self._looking.wait()
            self._looking.clear()
            # Before they are read: what changes meanwhile is seen by the next check.
            states = await asyncio.to_thread(self.files.states)
            if states == self._seen:
                continue
            self._seen = states
            if await self._reload():
                warn_s = 0.0

    async def _reload(self) -> bool:
        try:
            context, certificate = await asyncio.to_thread(load_context, self.files)
        except TlsError as error:
            return self._refuse(str(error))
        if certificate.not_after <= datetime.now(UTC):
            return self._refuse(f"{self.files.certificate} ended on {certificate.not_after:%Y-%m-%d %H:%M}Z")
        self.context.current, self.certificate = context, certificate
        self.reloads += 1
        log.info(
            "tls_reloaded",
            fingerprint=certificate.fingerprint,
            not_after=certificate.not_after.isoformat(),
            names=certificate.names,
        )
        return True

    def _refuse(self, reason: str) -> bool:
        log.warning("tls_reload_refused", reason=reason, kept=self.certificate.fingerprint)
        return False

    def _warn_of_expiry(self) -> None:
        days = self.certificate.days_left(datetime.now(UTC))
        if days < EXPIRY_DAYS:
            log.warning(
                "tls_certificate_expires",
                file=str(self.files.certificate),
                days_left=round(days, 1),
                not_after=self.certificate.not_after.isoformat(),
            )


class _Passphrase(Exception):
    pass


def _no_passphrase() -> str:
    raise _Passphrase("the key has a passphrase; it must have none")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        # "KEY_VALUES_MISMATCH" says more than the sentence that OpenSSL makes of it.
        words = (error.reason or str(error)).replace("_", " ").lower()
        return "they do not belong together" if "mismatch" in words else words
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    return str(error)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
