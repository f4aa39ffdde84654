"""`hegemon up --secure`: a local cluster that wants credentials and speaks TLS, without a question asked.

Its secrets are kept in the cluster's own directory: an authority of its own and a certificate for each start, under the
names that `hegemon cert --dir` uses, and what is made from the secret that the nodes share: the key of its tokens and
that of its audit log.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from hegemon.auth.certificates import CertificateError, issue, make_authority, read_pair, write_pair
from hegemon.cluster.local_plan import Home, LocalError

_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - read, not bound


def secured(
    environ: Mapping[str, str], home: Home, *, env_file: Path | None = Path(".env")
) -> tuple[dict[str, str], Path | None]:
    """The environment of nodes that want credentials and speak TLS, and the file of the authority that signed their
    certificate, None if the certificate was given. What `environ` or `env_file` says stays. Raises LocalError.
    """
    by_file = dotenv_values(env_file, interpolate=False) if env_file is not None else {}
    said = {name: text for name, text in {**by_file, **environ}.items() if text and text.strip()}
    given = {**environ, "AUTH_ENABLED": "true", "TLS_ENABLED": "true"}
    if not said.keys() & {"JWT_SECRET", "JWT_PRIVATE_KEY_FILE"}:
        given["JWT_SECRET"] = _derived(home, "tokens")
    if "AUDIT_KEY" not in said:
        given["AUDIT_KEY"] = _derived(home, "audit")
    if "TLS_CERT_FILE" in said:
        return given, None
    authority = _certificates(home.path, said.get("SERVER_HOST", ""))
    given |= {"TLS_CERT_FILE": str(home.path / "node.pem"), "TLS_KEY_FILE": str(home.path / "node-key.pem")}
    return given, authority


def _derived(home: Home, purpose: str) -> str:
    return hmac.new(home.secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _certificates(place: Path, host: str) -> Path:
    """An authority of the cluster's own, made once, and a new certificate by it. The authority's file."""
    now = datetime.now(UTC)
    certificate, key = place / "ca.pem", place / "ca-key.pem"
    more = socket.gethostname() if host in _EVERYWHERE else host
    hosts = tuple(dict.fromkeys((*_HOSTS, *([more] if more else ()))))
    try:
        if not certificate.exists():
            write_pair(make_authority(f"hegemon up {os.getpid()}", now=now), certificate, key)
        pair = issue(read_pair(certificate, key), name="localhost", hosts=hosts, now=now)
        write_pair(pair, place / "node.pem", place / "node-key.pem")
    except (CertificateError, OSError) as error:
        raise LocalError(f"no certificate could be made in {place}: {error}") from error
    return certificate
