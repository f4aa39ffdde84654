"""Tokens of an outside issuer (OpenID Connect): its keys are fetched from its JWKS, kept, and fetched again when a
token names one that is not among them, but no more often than every ten seconds, whoever asks.

Only asymmetric keys are taken, each for the one algorithm that it is for. The issuer, the audience and the times of a
token are checked, with 30 seconds for clocks that differ. What the issuer revokes is honoured when the token expires.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
import jwt
import msgspec
import structlog

from hegemon.auth.errors import AuthSettingsError, Unauthenticated
from hegemon.auth.roles import Principal, Role
from hegemon.auth.signing import SigningKey, verifier
from hegemon.auth.tokens import Verified, check_times, payload
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import StoreUnavailable

log = structlog.get_logger(__name__)

LEEWAY_S: Final = 30
REFETCH_S: Final = 10.0
KEYS_KEPT_S: Final = 3600.0
FETCH_TIMEOUT_S: Final = 5.0
DOCUMENT_BYTES_MAX: Final = 1 << 18
KEYS_MAX: Final = 50
SUBJECT_MAX: Final = 200
_OPTIONS: Final[Any] = {
    "require": ["iss", "aud", "sub", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
# The strongest first: of several roles in a token the first of these counts.
_STRENGTH: Final = (Role.ADMIN, Role.USER, Role.WORKER, Role.VIEWER)

Fetch = Callable[[str], Awaitable[bytes]]


class OutsideIssuer:
    """Verifies the tokens of the issuer at `url`. `role_claim` is where its tokens say the role: a name, or names with
    dots between them, of a text or a list of texts.
    """

    def __init__(
        self,
        url: str,
        *,
        audience: str,
        role_claim: str,
        clock: ClusterClock,
        fetch: Fetch,
        jwks_url: str | None = None,
    ) -> None:
        self.url = url
        self._audience = audience
        self._role_claim = role_claim
        self._clock = clock
        self._fetch = fetch
        self._jwks_url = jwks_url
        self._keys: dict[str, SigningKey] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def verify(self, token: bytes, head: dict[str, Any]) -> Verified:
        """Who the token stands for. TokenExpired; Unauthenticated with the `reason`; StoreUnavailable when no key of
        the issuer could be had yet.
        """
        key = await self._key(head.get("kid"))
        said = payload(token, key, head, audience=self._audience, issuer=self.url, options=_OPTIONS)
        issued, not_before, expires = (_number(said.get(name), name) for name in ("iat", "nbf", "exp"))
        now_ms = self._clock.now_ms()
        check_times(not_before or 0, issued or 0, expires or 0, now_ms, skew_s=LEEWAY_S, grace_s=LEEWAY_S)
        subject = said["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_MAX or not subject.isprintable():
            raise Unauthenticated(reason="sub")
        role = _role(said, self._role_claim)
        if role is None:
            raise Unauthenticated("The token names no role that is known here.", reason="no role")
        return Verified(
            principal=Principal(f"outside:{subject}", role), until_ms=int(((expires or 0) + LEEWAY_S) * 1000)
        )

    async def _key(self, kid: object) -> SigningKey:
        if not isinstance(kid, str):
            raise Unauthenticated(reason="no kid")
        now_s = time.monotonic()
        key = self._keys.get(kid)
        if key is None or now_s - self._fetched_at > KEYS_KEPT_S:
            await self._fetch_keys(kid)
            key = self._keys.get(kid)
        if key is None and not self._keys:
            raise StoreUnavailable("the issuer", "the keys of the issuer of this token cannot be had now")
        if key is None:
            raise Unauthenticated(reason="unknown kid")
        return key

    async def _fetch_keys(self, kid: str) -> None:
        async with self._fetching:
            now_s = time.monotonic()
            if now_s - self._tried_at < REFETCH_S or (kid in self._keys and now_s - self._fetched_at <= KEYS_KEPT_S):
                return
            self._tried_at = now_s
            try:
                url = self._jwks_url or await self._discovered()
                self._keys = _keys(await self._fetch(url))
                self._fetched_at = now_s
            except (OSError, httpx.HTTPError, ValueError) as error:
                # Those of before go on being good: an issuer that is away for an hour must not lock everybody out.
                log.warning("issuer_keys_unavailable", issuer=self.url, reason=f"{type(error).__name__}: {error}")

    async def _discovered(self) -> str:
        """Where the issuer says that its keys are (OpenID Connect Discovery 1.0, section 4)."""
        document = _object(await self._fetch(f"{self.url.rstrip('/')}/.well-known/openid-configuration"))
        if document.get("issuer") != self.url:
            raise ValueError("the issuer's configuration names another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError("the issuer's configuration names no jwks_uri")  # noqa: TRY004 - as in `_keys`
        return url


def fetcher(transport: httpx.AsyncBaseTransport | None = None) -> Fetch:
    """Fetches small documents over HTTP: 200 and nothing else, no redirects, 256 KiB, 5 seconds. OSError,
    httpx.HTTPError, ValueError.
    """

    async def fetch(url: str) -> bytes:
        async with (
            asyncio.timeout(FETCH_TIMEOUT_S),
            httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise ValueError(f"{url} answered {response.status_code}")
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > DOCUMENT_BYTES_MAX:
                    raise ValueError(f"{url} answered more than {DOCUMENT_BYTES_MAX} bytes")
                chunks.append(chunk)
            return b"".join(chunks)

    return fetch


def _keys(document: bytes) -> dict[str, SigningKey]:
    found = _object(document).get("keys")
    if not isinstance(found, list):
        raise ValueError("no JWK set")  # noqa: TRY004 - what a stranger sent is a wrong value, whatever its type
    keys: dict[str, SigningKey] = {}
    for jwk in found[:KEYS_MAX]:
        if not isinstance(jwk, dict) or jwk.get("kty") == "oct" or jwk.get("use", "sig") != "sig":
            continue
        kid = jwk.get("kid")
        if not isinstance(kid, str):
            continue
        try:
            key = verifier(jwt.PyJWK(jwk).key, f"key {kid}", kid=kid)
        except (jwt.PyJWTError, AuthSettingsError, ValueError, TypeError):
            continue  # a kind that we do not take: the others may be enough
        if jwk.get("alg", key.algorithm) == key.algorithm:
            keys[kid] = key
    if not keys:
        raise ValueError("no key in the JWK set can be used (RS256, ES256 or EdDSA, with a kid)")
    return keys


def _object(document: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a JSON object: {error}") from None


def _number(value: object, name: str) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e11):
        return None if value is None else float(value)
    raise Unauthenticated(reason=name)


def _role(said: dict[str, Any], claim: str) -> Role | None:
    """The strongest role that the claim names."""
    value: object = said.get(claim)
    if value is None:
        value = said
        for name in claim.split("."):
            value = value.get(name) if isinstance(value, dict) else None
    named = value if isinstance(value, list) else [value]
    return next((role for role in _STRENGTH if role.value in named), None)
