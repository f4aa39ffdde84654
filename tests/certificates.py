"""Certificates for the tests: one authority and what it issues, in files."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hegemon.auth.certificates import Pair, issue, make_authority, write_pair

HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Files:
    """Where a certificate and its key are; `both` is one file with the two."""

    certificate: Path
    key: Path

    @property
    def both(self) -> Path:
        path = self.certificate.with_suffix(".both.pem")
        path.write_bytes(self.certificate.read_bytes() + self.key.read_bytes())
        path.chmod(0o600)
        return path


class Authority:
    """An authority whose files are in `directory`; `trusting()` is a client's context that trusts it alone."""

    def __init__(self, directory: Path, name: str = "the tests' authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.pair = make_authority(name, now=datetime.now(UTC))
        self.certificate = directory / "ca.pem"
        write_pair(self.pair, self.certificate, directory / "ca-key.pem")

    def issue(self, name: str, hosts: Sequence[str] = HOSTS, *, now: datetime | None = None, days: int = 30) -> Pair:
        """A certificate that is in no file yet."""
        return issue(self.pair, name=name, hosts=hosts, now=now or datetime.now(UTC), days=days)

    def write(self, name: str, pair: Pair | None = None) -> Files:
        """A certificate in files called after it, in place of those that are there."""
        files = Files(self.directory / f"{name}.pem", self.directory / f"{name}-key.pem")
        write_pair(pair or self.issue(name), files.certificate, files.key)
        return files

    def ended(self, name: str) -> Pair:
        """A certificate whose time was over an hour ago."""
        return self.issue(name, now=datetime.now(UTC) - timedelta(days=30, hours=1), days=30)

    def trusting(self, client: Files | None = None) -> ssl.SSLContext:
        """What a careful client connects with, showing `client`'s certificate if asked."""
        context = ssl.create_default_context(cafile=self.certificate)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        return context
