"""The settings of the API's TLS, how the files of a store's TLS become a part of its URL, and what keys must be."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import quote

from pydantic import Field

from hegemon.cluster.setting_forms import Choice, File, Flag
from hegemon.cluster.setting_group import Conflict, Group
from hegemon.queue.sealing import Sealer, SealingError

ClientAuth = Literal["off", "optional", "required"]


class TlsSettings(Group):
    """Whether the API speaks HTTPS, with which certificate, and whether clients must show one."""

    tls_enabled: Annotated[bool, Flag()] = Field(
        default=False,
        description="Whether the API speaks HTTPS (TLS 1.2 and 1.3) instead of HTTP. Needs TLS_CERT_FILE and "
        "TLS_KEY_FILE; `hegemon cert` makes both for development. A certificate that was renewed in place is taken "
        "within seconds, or at once on SIGHUP, without a restart.",
    )
    tls_cert_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="The certificate in PEM form, followed by those that lead to its root. EC P-256 is the kind that "
        "costs least: a handshake with a large RSA key holds up everything else on the node for milliseconds.",
    )
    tls_key_file: Annotated[Path | None, File()] = Field(
        default=None, description="The private key of TLS_CERT_FILE in PEM form, without a passphrase."
    )
    tls_client_auth: Annotated[ClientAuth, Choice(get_args(ClientAuth))] = Field(
        default="off",
        description="Whether clients show a certificate of TLS_CLIENT_CA_FILE (mutual TLS): required refuses "
        "connections without one, optional refuses only those that show a wrong one. It says who may connect; who "
        "may do what is still decided by token or key.",
    )
    tls_client_ca_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="The authorities, in PEM form, whose certificates clients may show. Goes with TLS_CLIENT_AUTH.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if not self.tls_enabled:
            return
        files = {"TLS_CERT_FILE": self.tls_cert_file, "TLS_KEY_FILE": self.tls_key_file}
        if None in files.values():
            yield Conflict(("TLS_ENABLED", *files), "TLS_ENABLED needs TLS_CERT_FILE and TLS_KEY_FILE")
        if self.tls_client_auth != "off" and self.tls_client_ca_file is None:
            yield Conflict(
                ("TLS_CLIENT_AUTH", "TLS_CLIENT_CA_FILE"),
                "TLS_CLIENT_AUTH needs TLS_CLIENT_CA_FILE, whose certificates clients may show",
            )
        yield from unreadable({**files, "TLS_CLIENT_CA_FILE": self.tls_client_ca_file})


def unreadable(files: Mapping[str, Path | None]) -> Iterator[Conflict]:
    """A conflict for each setting whose file is not there or cannot be read."""
    for name, path in files.items():
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            yield Conflict((name,), f"{name} must be the path of a file that exists and can be read")


def with_parameters(url: str, parameters: Mapping[str, Path | str | None]) -> str:
    """The URL of a store with these parameters, but for those that are None or that it has already."""
    scheme, mark, rest = url.partition("://")
    # The last @ ends the credentials, which may hold what looks like the end of the hosts.
    credentials, at, place = rest.rpartition("@")
    hosts, question, query = place.partition("?")
    known = {item.partition("=")[0] for item in query.split("&")}
    more = [
        f"{name}={quote(str(value))}" for name, value in parameters.items() if value is not None and name not in known
    ]
    if not more:
        return url
    path = hosts if "/" in hosts else f"{hosts}/"
    return f"{scheme}{mark}{credentials}{at}{path}?{'&'.join([*([query] if question and query else []), *more])}"


def wrong_keys(keys: str) -> Iterator[Conflict]:
    """What is wrong with PAYLOAD_ENCRYPTION_KEYS, if anything is."""
    try:
        Sealer.of(keys)
    except SealingError as error:
        yield Conflict(("PAYLOAD_ENCRYPTION_KEYS",), str(error))
