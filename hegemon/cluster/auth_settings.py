"""The settings of authentication: whether callers must prove who they are, who signs what they prove it with."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from hegemon.auth.errors import AuthError, InvalidUser
from hegemon.auth.passwords import check
from hegemon.auth.roles import FIRST_ADMIN
from hegemon.auth.signing import from_files, weakness
from hegemon.cluster.setting_forms import Duration, File, Flag, Form, Secret, Url, is_loopback
from hegemon.cluster.setting_group import Conflict, Group

_SECOND, _MINUTE, _HOUR, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Files(Form):
    """Paths, separated by commas; blanks around them do not matter."""

    @property
    def expects(self) -> str:
        return "paths of files separated by commas"

    def read(self, text: str) -> tuple[Path, ...]:
        return tuple(Path(part.strip()) for part in text.split(","))

    def check(self, value: tuple[Path, ...]) -> None:
        if any("\0" in str(path) or path == Path() for path in value):
            raise self.refusal()

    def write(self, value: tuple[Path, ...]) -> str:
        return ",".join(map(str, value))


@dataclass(frozen=True)
class Word(Form):
    """Text without blanks and control characters, of 200 characters at the most."""

    @property
    def expects(self) -> str:
        return "1 to 200 characters without blanks"

    def check(self, value: str) -> None:
        if not 1 <= len(value) <= 200 or not value.isprintable() or " " in value:
            raise self.refusal()


class AuthSettings(Group):
    """Who may use the API, and what they prove it with."""

    auth_enabled: Annotated[bool, Flag()] = Field(
        default=False,
        description="Whether callers must prove who they are, with a login or an API key. Off: everybody who reaches "
        "SERVER_HOST may do everything, and it must be loopback. On: it needs JWT_SECRET or JWT_PRIVATE_KEY_FILE.",
    )
    jwt_secret: Annotated[SecretStr | None, Secret(least_bytes=32)] = Field(
        default=None,
        description="The secret that signs access tokens (HS256), the same on all nodes; a weak or a sample one is "
        "refused. Make one with `openssl rand -hex 32`. Either this or JWT_PRIVATE_KEY_FILE. Never printed.",
    )
    jwt_secret_other: Annotated[SecretStr | None, Secret(least_bytes=32)] = Field(
        default=None,
        description="A second secret that is accepted, to change JWT_SECRET without a stop: first every node accepts "
        "the new one here, then every node signs with it (swap the two), then the old one goes after "
        "ACCESS_TOKEN_TTL, or after a day where service tokens are used. Never printed.",
    )
    jwt_private_key_file: Annotated[Path | None, File()] = Field(
        default=None,
        description="In place of JWT_SECRET: a private key in PEM form, without a passphrase. RSA of 2048 bits or more "
        "signs by RS256, Ed25519 by EdDSA, EC P-256 by ES256. Others can verify with /.well-known/jwks.json.",
    )
    jwt_public_key_files: Annotated[tuple[Path, ...], Files()] = Field(
        default=(),
        description="Public keys in PEM form whose tokens are accepted too, to change JWT_PRIVATE_KEY_FILE without a "
        "stop: as with JWT_SECRET_OTHER.",
    )
    jwt_issuer_url: Annotated[str | None, Url(("https", "http"))] = Field(
        default=None,
        description="An outside issuer (OpenID Connect) whose tokens are accepted beside the cluster's own, as its "
        "tokens name it in `iss`. Needs JWT_AUDIENCE. http only on this machine.",
    )
    jwt_jwks_url: Annotated[str | None, Url(("https", "http"))] = Field(
        default=None,
        description="Where the keys of JWT_ISSUER_URL are. Unset: its /.well-known/openid-configuration says.",
    )
    jwt_audience: Annotated[str | None, Word()] = Field(
        default=None,
        description="What tokens of JWT_ISSUER_URL must name in `aud`: this cluster, and no other service.",
    )
    jwt_role_claim: Annotated[str, Word()] = Field(
        default="role",
        description="Where tokens of JWT_ISSUER_URL say the role (admin, user, worker, viewer): a claim's name, or "
        "names with dots between them such as realm_access.roles; a text or a list, of which the strongest counts.",
    )
    access_token_ttl: Annotated[timedelta, Duration(_MINUTE, _HOUR)] = Field(
        default=10 * _MINUTE,
        description="How long an access token is good. Shorter limits what a stolen one can do; longer means fewer "
        "refreshes.",
    )
    refresh_token_ttl: Annotated[timedelta, Duration(10 * _MINUTE, 90 * _DAY)] = Field(
        default=7 * _DAY,
        description="How long one may stay away and still be logged in. Must be longer than ACCESS_TOKEN_TTL.",
    )
    admin_password: Annotated[SecretStr | None, Secret()] = Field(
        default=None,
        description="The password of the user admin, who is made when there are no users yet; without effect after "
        "that. Unset: one is made up and shown once, on the stderr of the node that made it. Never printed.",
    )
    demo_users: Annotated[bool, Flag()] = Field(
        default=False,
        description="Makes the users admin, user and worker with the passwords admin123, user123 and worker123, to try "
        "things out. Only with SERVER_HOST on loopback; no node without this lets them in.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        yield from self._key_conflicts()
        if self.refresh_token_ttl <= self.access_token_ttl:
            yield Conflict(
                ("REFRESH_TOKEN_TTL", "ACCESS_TOKEN_TTL"), "REFRESH_TOKEN_TTL must be longer than ACCESS_TOKEN_TTL"
            )
        if self.jwt_issuer_url is not None and self.jwt_audience is None:
            yield Conflict(("JWT_ISSUER_URL", "JWT_AUDIENCE"), "JWT_ISSUER_URL needs JWT_AUDIENCE")
        for name, url in (("JWT_ISSUER_URL", self.jwt_issuer_url), ("JWT_JWKS_URL", self.jwt_jwks_url)):
            if url is not None and url.startswith("http://") and not _is_here(url):
                yield Conflict((name,), f"{name} must begin with https:// unless it is on this machine")
        if self.jwt_issuer_url is None and self.jwt_jwks_url is not None:
            yield Conflict(("JWT_JWKS_URL",), "JWT_JWKS_URL needs JWT_ISSUER_URL")
        if self.admin_password is not None:
            try:
                check(self.admin_password.get_secret_value(), user=FIRST_ADMIN)
            except InvalidUser as error:
                yield Conflict(("ADMIN_PASSWORD",), f"ADMIN_PASSWORD: {error}")

    def _key_conflicts(self) -> Iterator[Conflict]:
        if self.auth_enabled and self.jwt_secret is None and self.jwt_private_key_file is None:
            yield Conflict(
                ("AUTH_ENABLED",),
                "AUTH_ENABLED needs JWT_SECRET (`openssl rand -hex 32`, the same on all nodes) or JWT_PRIVATE_KEY_FILE",
            )
        if self.jwt_secret is not None and self.jwt_private_key_file is not None:
            yield Conflict(
                ("JWT_SECRET", "JWT_PRIVATE_KEY_FILE"), "JWT_SECRET and JWT_PRIVATE_KEY_FILE exclude each other"
            )
        for name, secret in (("JWT_SECRET", self.jwt_secret), ("JWT_SECRET_OTHER", self.jwt_secret_other)):
            why = None if secret is None else weakness(secret.get_secret_value())
            if why is not None:
                yield Conflict((name,), f"{name} {why}; make one with `openssl rand -hex 32`")
        if self.jwt_secret_other is not None and self.jwt_secret is None:
            yield Conflict(("JWT_SECRET_OTHER",), "JWT_SECRET_OTHER needs JWT_SECRET")
        if self.jwt_public_key_files and self.jwt_private_key_file is None:
            yield Conflict(("JWT_PUBLIC_KEY_FILES",), "JWT_PUBLIC_KEY_FILES needs JWT_PRIVATE_KEY_FILE")
        if self.jwt_private_key_file is not None:
            try:
                from_files(self.jwt_private_key_file, self.jwt_public_key_files)
            except AuthError as error:
                yield Conflict(("JWT_PRIVATE_KEY_FILE", "JWT_PUBLIC_KEY_FILES"), str(error))


def _is_here(url: str) -> bool:
    # Not by how it begins: http://localhost:x@elsewhere goes elsewhere.
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
