"""Access tokens of this cluster (RFC 9068 in spirit): issued at login, checked without a question to any store.

    iss hegemon:CLUSTER_ID   aud hegemon:CLUSTER_ID   sub user:NAME or service:NAME   role   queues?
    sid (session) or none    jti    ver (the user's version)    iat, nbf, exp (seconds of the cluster's clock)

What a token claims is believed for its few minutes; what became void before stands in `revocations`.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any, Final

import jwt
import msgspec

from hegemon.auth.errors import TokenExpired, Unauthenticated
from hegemon.auth.roles import Principal, Role
from hegemon.auth.signing import KeyRing, SigningKey
from hegemon.queue.clock import ClusterClock

# A longer one is not looked at: parsing costs, and no token of ours comes near.
TOKEN_BYTES_MAX: Final = 8192
TYPE: Final = "at+jwt"
# How far the clocks of two nodes that keep the cluster's time may be apart.
SKEW_S: Final = 5
# Checked here, by the cluster's clock; the library has its own, which is this machine's.
_OPTIONS: Final[Any] = {
    "require": ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "strict_aud": True,
}


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token of ours says."""

    sub: str
    role: Role
    jti: str
    iat: int
    nbf: int
    exp: int
    queues: frozenset[str] | None = None
    sid: str | None = None
    ver: int = 0


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A credential that was found good: who it is, and what could make it void before `until_ms`.

    `version` is that of the user when it was issued; `token` and `key` are its id, whichever it is.
    """

    principal: Principal
    until_ms: int
    version: int = 0
    token: str | None = None
    key: str | None = None


class Tokens:
    """Issues and verifies. `cluster_id` is issuer and audience: tokens of another cluster are none here."""

    def __init__(self, ring: KeyRing, clock: ClusterClock, *, cluster_id: str) -> None:
        self.ring = ring
        self.issuer = f"hegemon:{cluster_id}"
        self._clock = clock

    def issue(
        self,
        subject: str,
        role: Role,
        *,
        ttl: timedelta,
        queues: tuple[str, ...] | None = None,
        session: str | None = None,
        version: int = 0,
    ) -> tuple[str, str, int]:
        """A signed token, its `jti`, and when it expires in UTC milliseconds."""
        now_s = self._clock.now_ms() // 1000
        expires_s = now_s + int(ttl.total_seconds())
        token_id = secrets.token_hex(16)
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.issuer,
            "sub": subject,
            "role": role.value,
            "jti": token_id,
            "iat": now_s,
            "nbf": now_s,
            "exp": expires_s,
            "ver": version,
        }
        if queues is not None:
            claims["queues"] = list(queues)
        if session is not None:
            claims["sid"] = session
        key = self.ring.signing
        token = jwt.encode(claims, key.sign, algorithm=key.algorithm, headers={"kid": key.kid, "typ": TYPE})
        return token, token_id, expires_s * 1000

    def verify(self, token: bytes) -> Verified:
        """Who the token stands for. TokenExpired; Unauthenticated with the `reason` for all else."""
        head = header(token)
        key = self.ring.find(head.get("kid"))
        if key is None:
            raise Unauthenticated(reason="unknown kid")
        if head.get("typ") != TYPE:
            raise Unauthenticated(reason="no access token")
        said = payload(token, key, head, audience=self.issuer, issuer=self.issuer, options=_OPTIONS)
        try:
            claims = msgspec.convert(said, Claims)
        except msgspec.ValidationError as error:
            raise Unauthenticated(reason=f"claims: {error}") from None
        check_times(claims.nbf, claims.iat, claims.exp, self._clock.now_ms(), skew_s=SKEW_S, grace_s=0)
        return Verified(
            principal=Principal(claims.sub, claims.role, claims.queues, claims.sid),
            until_ms=claims.exp * 1000,
            version=claims.ver,
            token=claims.jti,
        )


def header(token: bytes) -> dict[str, Any]:
    """A token's header, of which nothing is believed yet. Unauthenticated when it is no token at all."""
    if len(token) > TOKEN_BYTES_MAX:
        raise Unauthenticated(reason="too long for a token")
    try:
        return jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise Unauthenticated(reason="no token") from None
    except (ValueError, RecursionError):
        raise Unauthenticated(reason="no token") from None


def payload(
    token: bytes, key: SigningKey, head: dict[str, Any], *, audience: str, issuer: str, options: Any
) -> dict[str, Any]:
    """The claims, once the signature holds under the key's own algorithm and issuer and audience are right."""
    if head.get("alg") != key.algorithm:
        raise Unauthenticated(reason="another algorithm than the key's")
    try:
        return jwt.decode(
            token, key.verify, algorithms=[key.algorithm], audience=audience, issuer=issuer, options=options
        )
    except jwt.InvalidTokenError as error:
        raise Unauthenticated(reason=type(error).__name__) from None
    except (ValueError, RecursionError, TypeError):
        raise Unauthenticated(reason="no token") from None


def check_times(
    not_before_s: float, issued_s: float, expires_s: float, now_ms: int, *, skew_s: float, grace_s: float
) -> None:
    """TokenExpired `grace_s` after `expires_s`; Unauthenticated for a token from more than `skew_s` ahead."""
    now_s = now_ms / 1000
    if now_s >= expires_s + grace_s:
        raise TokenExpired(reason="expired")
    if now_s + skew_s < max(not_before_s, issued_s):
        raise Unauthenticated(reason="not valid yet")
