"""Tokens of an outside issuer: whose keys are fetched, and what is checked of them."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from hegemon.auth.errors import TokenExpired, Unauthenticated
from hegemon.auth.issuer import OutsideIssuer
from hegemon.auth.roles import Role
from hegemon.auth.tokens import header
from hegemon.queue.errors import StoreUnavailable
from tests.auth.parts import Clock

URL = "https://login.example.com/realm"
KEY = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)


class Site:
    """What the issuer serves, and how often it was asked."""

    def __init__(self) -> None:
        ed = {**OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "ed", "use": "sig"}
        rs = {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rs", "alg": "RS256"}
        octets = {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}
        self.documents: dict[str, Any] = {
            f"{URL}/.well-known/openid-configuration": {"issuer": URL, "jwks_uri": f"{URL}/keys"},
            f"{URL}/keys": {"keys": [ed, rs, octets, {"kty": "RSA", "kid": "broken"}, "no key"]},
        }
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.documents:
            raise ValueError("404")
        return json.dumps(self.documents[url]).encode()


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def issuer(site: Site, clock: Clock) -> OutsideIssuer:
    return OutsideIssuer(URL, audience="hegemon", role_claim="realm_access.roles", clock=clock, fetch=site.fetch)


def token(clock: Clock, *, kid: str = "ed", key: Any = KEY, algorithm: str = "EdDSA", **changes: Any) -> bytes:
    now_s = clock.now_ms() // 1000
    claims = {"iss": URL, "aud": "hegemon", "sub": "ana", "exp": now_s + 60, "iat": now_s}
    claims |= {"realm_access": {"roles": ["offline", "viewer", "user"]}, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid}).encode()


async def verify(issuer: OutsideIssuer, made: bytes) -> Any:
    return await issuer.verify(made, header(made))


async def test_its_tokens_are_taken_with_the_strongest_of_their_roles(issuer: OutsideIssuer, clock: Clock) -> None:
    verified = await verify(issuer, token(clock))
    assert verified.principal.id == "outside:ana"
    assert verified.principal.role is Role.USER
    rsa_token = token(clock, kid="rs", key=RSA, algorithm="RS256")
    assert (await verify(issuer, rsa_token)).principal.role is Role.USER


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example.com"},
        {"aud": "another service"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": 7},
        {"realm_access": {"roles": ["root"]}},
        {"realm_access": "admin"},
        {"realm_access": None},
        {"exp": None},
        {"kid": "other"},
        {"kid": "shared"},
        {"kid": "rs"},
        {"kid": "ed", "key": ed25519.Ed25519PrivateKey.generate()},
    ],
)
async def test_what_is_not_for_us_is_refused(issuer: OutsideIssuer, clock: Clock, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await verify(issuer, token(clock, **changes))


async def test_its_secret_key_material_is_never_used_for_hs256(issuer: OutsideIssuer, clock: Clock) -> None:
    made = token(clock, kid="shared", key=b"secret-secret-secret-secret-secret", algorithm="HS256")
    with pytest.raises(Unauthenticated):
        await verify(issuer, made)


async def test_clocks_may_differ_by_half_a_minute(issuer: OutsideIssuer, clock: Clock) -> None:
    now_s = clock.now_ms() // 1000
    await verify(issuer, token(clock, exp=now_s - 20, iat=now_s - 80))
    await verify(issuer, token(clock, nbf=now_s + 20, iat=now_s + 20))
    with pytest.raises(TokenExpired):
        await verify(issuer, token(clock, exp=now_s - 31, iat=now_s - 91))
    with pytest.raises(Unauthenticated):
        await verify(issuer, token(clock, nbf=now_s + 90))


async def test_keys_that_nobody_knows_do_not_make_the_node_ask_again_and_again(
    issuer: OutsideIssuer, site: Site, clock: Clock
) -> None:
    await verify(issuer, token(clock))
    asked = len(site.asked)
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await verify(issuer, token(clock, kid=f"new-{number}"))
    assert len(site.asked) == asked
    issuer._tried_at = float("-inf")
    with pytest.raises(Unauthenticated):
        await verify(issuer, token(clock, kid="new"))
    assert len(site.asked) == asked + 2


async def test_an_issuer_that_is_away_leaves_the_keys_of_before(
    issuer: OutsideIssuer, site: Site, clock: Clock
) -> None:
    made = token(clock)
    await verify(issuer, made)
    site.documents.clear()
    issuer._tried_at = issuer._fetched_at = float("-inf")
    await verify(issuer, made)


async def test_an_issuer_that_was_never_there_is_no_wrong_credential(
    issuer: OutsideIssuer, site: Site, clock: Clock
) -> None:
    site.documents.clear()
    with pytest.raises(StoreUnavailable):
        await verify(issuer, token(clock))


async def test_a_configuration_that_speaks_of_another_issuer_is_not_followed(
    issuer: OutsideIssuer, site: Site, clock: Clock
) -> None:
    site.documents[f"{URL}/.well-known/openid-configuration"]["issuer"] = "https://evil.example.com"
    with pytest.raises(StoreUnavailable):
        await verify(issuer, token(clock))
    assert f"{URL}/keys" not in site.asked
