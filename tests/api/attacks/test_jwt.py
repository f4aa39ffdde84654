"""Tokens that an attacker makes: none of them is anybody, whatever they claim and however they are signed."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hegemon.auth.errors import Unauthenticated
from hegemon.auth.signing import verifier
from hegemon.auth.tokens import TOKEN_BYTES_MAX, TYPE, header, payload
from tests.api.documented import check
from tests.api.secured import Secured, served
from tests.auth.parts import OPTIONS, OTHER, SIGNING
from tests.conftest import MongoServer
from tests.waiting import PATIENCE_S

ME = "/auth/me"
CLAIMS: dict[str, Any] = {
    "iss": "hegemon:test",
    "aud": "hegemon:test",
    "sub": "service:eve",
    "role": "admin",
    "jti": "j",
}


@pytest.fixture(scope="module")
def secured(mongo_server: MongoServer, server_loop: Any) -> Iterator[Secured]:
    with served(server_loop, mongo_server.uri, f"attacks_{time.time_ns()}") as opened:
        yield opened


@pytest.fixture
def http(secured: Secured) -> Iterator[httpx.Client]:
    hooks = {"response": [check]}
    with httpx.Client(base_url=secured.url, timeout=PATIENCE_S, trust_env=False, event_hooks=hooks) as client:
        yield client


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token but for the changes; a duration is a moment from now, None is left out."""
    now = int(time.time())
    made = {**CLAIMS, "iat": now - 1, "nbf": now - 1, "exp": now + 600, "ver": 0, **changes}
    return {
        name: now + int(value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in made.items()
        if value is not None
    }


def forged(secured: Secured, said: dict[str, Any] | None = None, key: Any = SIGNING, **head: Any) -> str:
    """A token under the real secret, unless the test takes another one."""
    headers = {"kid": secured.identity.ring.signing.kid, "typ": TYPE, **head}
    algorithm = str(headers.pop("alg", "HS256"))
    return jwt.encode(said or claims(), key, algorithm=algorithm, headers=headers)


def raw(head: dict[str, Any], said: dict[str, Any], signature: bytes = b"") -> str:
    """A token as no library makes it."""
    parts = [json.dumps(head).encode(), json.dumps(said).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def ask(http: httpx.Client, token: str) -> httpx.Response:
    return http.get(ME, headers={"authorization": f"Bearer {token}"})


def refused(http: httpx.Client, token: str) -> bool:
    """Whether the answer is a refusal of this token, with all that belongs to one."""
    answer = ask(http, token)
    assert answer.status_code == 401, answer.text
    assert answer.json()["code"] in ("unauthenticated", "token_expired")
    return "invalid_token" in answer.headers["www-authenticate"]


def test_a_right_token_is_taken_so_that_the_others_are_refused_for_their_fault(
    secured: Secured, http: httpx.Client
) -> None:
    assert ask(http, forged(secured)).json()["id"] == "service:eve"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", "HS0"])
def test_an_unsigned_token_is_refused(secured: Secured, http: httpx.Client, algorithm: str) -> None:
    head = {"alg": algorithm, "typ": TYPE, "kid": secured.identity.ring.signing.kid}
    assert refused(http, raw(head, claims()))
    assert refused(http, raw(head, claims(), b"x" * 32))
    assert refused(http, raw({"typ": TYPE}, claims()))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_of_the_family_is_refused_also_under_the_real_secret(
    secured: Secured, http: httpx.Client, algorithm: str
) -> None:
    assert refused(http, forged(secured, key=SIGNING + SIGNING, alg=algorithm))
    assert refused(http, jwt.encode(claims(), SIGNING + "=" * 40, algorithm=algorithm, headers={"typ": TYPE}))


def test_a_token_that_is_signed_with_a_key_of_the_attackers_own_is_refused(
    secured: Secured, http: httpx.Client
) -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    assert refused(http, forged(secured, key=rsa_key, alg="RS256"))
    assert refused(http, forged(secured, key=ec.generate_private_key(ec.SECP256R1()), alg="ES256"))
    jwk = {"kty": "oct", "k": "YXR0YWNrZXI"}
    assert refused(http, forged(secured, key="a" * 40, jwk=jwk))
    assert refused(
        http,
        forged(
            secured, key=rsa_key, alg="RS256", jwk=json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key()))
        ),
    )


@pytest.mark.parametrize("key", [OTHER, SIGNING[:-1], SIGNING + "x", "secret", "x" * 48])
def test_a_wrong_key_is_refused(secured: Secured, http: httpx.Client, key: str) -> None:
    assert refused(http, forged(secured, key=key.ljust(32, ".")))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": timedelta(minutes=-1)},
        {"nbf": timedelta(hours=1)},
        {"iat": timedelta(hours=1)},
        {"aud": "hegemon:other"},
        {"aud": ["hegemon:test", "hegemon:other"]},
        {"iss": "hegemon:other"},
        {"iss": "https://evil.example"},
        {"role": "root"},
        {"role": ["admin"]},
        {"role": None},
        {"sub": None},
        {"sub": 7},
        {"exp": None},
        {"iat": None},
        {"nbf": None},
        {"jti": None},
        {"aud": None},
        {"iss": None},
        {"exp": "never"},
        {"exp": 1e308},
        {"queues": "all"},
    ],
    ids=str,
)
def test_claims_that_are_not_as_ours_are_refused_even_when_well_signed(
    secured: Secured, http: httpx.Client, changes: dict[str, Any]
) -> None:
    assert refused(http, forged(secured, claims(**changes)))


@pytest.mark.parametrize(
    "kid",
    ["../../../dev/null", "/dev/null", "' OR 1=1 --", "|id", "", "x" * 4000, "\x00", "http://evil.example/k", None, 7],
    ids=repr,
)
def test_a_kid_is_a_name_of_a_known_key_and_nothing_else(secured: Secured, http: httpx.Client, kid: Any) -> None:
    head = {"alg": "HS256", "typ": TYPE, **({} if kid is None else {"kid": kid})}
    assert refused(http, raw(head, claims(), b"x" * 32))


@pytest.mark.parametrize("name", ["jku", "x5u", "x5c", "crit", "b64", "zip"])
def test_headers_that_name_keys_or_extensions_are_not_followed(secured: Secured, http: httpx.Client, name: str) -> None:
    value: Any = {"x5c": ["MIIB"], "crit": ["b64"], "b64": False}.get(name, "http://127.0.0.1:1/keys")
    assert refused(http, forged(secured, key=OTHER, **{name: value}))


@pytest.mark.parametrize("typ", ["JWT", "refresh", "", "at+jwt2"])
def test_a_token_of_another_type_is_refused(secured: Secured, http: httpx.Client, typ: str) -> None:
    assert refused(http, forged(secured, typ=typ))


def test_a_token_that_was_tampered_with_is_refused_wherever_it_was(secured: Secured, http: httpx.Client) -> None:
    head, said, signature = forged(secured, claims(role="viewer")).split(".")
    more = base64.urlsafe_b64encode(json.dumps(claims(role="admin")).encode()).rstrip(b"=").decode()
    assert refused(http, f"{head}.{more}.{signature}")
    assert refused(http, f"{head}.{said}.")
    assert refused(http, f"{head}.{said}")
    assert refused(http, f"{head}.{said}.{signature}.{signature}")
    assert refused(http, f"{head}.{said}.{signature[::-1]}")
    for at in range(0, len(said), max(len(said) // 12, 1)):
        changed = said[:at] + ("A" if said[at] != "A" else "B") + said[at + 1 :]
        assert refused(http, f"{head}.{changed}.{signature}")


@pytest.mark.parametrize(
    "token",
    ["-", ".", "..", "...", "a.b.c", "ey.ey.ey", "\u00e4", "null", "%00", "Bearer", "{}", "eyJhbGciOiJIUzI1NiJ9.e30."],
    ids=repr,
)
def test_what_is_no_token_is_refused(http: httpx.Client, token: str) -> None:
    answer = http.get(ME, headers={b"authorization": f"Bearer {token}".encode()})
    assert answer.status_code == 401


def test_an_oversized_token_is_refused_unread(secured: Secured, http: httpx.Client) -> None:
    assert refused(http, forged(secured, claims(more="x" * TOKEN_BYTES_MAX)))
    nested = raw({"alg": "HS256", "kid": "k", "typ": TYPE}, {"a": 1})
    deep = base64.urlsafe_b64encode(b"[" * 4000).rstrip(b"=").decode()
    assert refused(http, f"{nested.split('.')[0]}.{deep}.c2ln")
    assert refused(http, f"{deep}.e30.c2ln")


def test_a_token_is_worth_nothing_after_logout(http: httpx.Client) -> None:
    pair = http.post("/auth/login", json={"username": "admin", "password": OPTIONS.admin_password}).json()
    assert ask(http, pair["access_token"]).status_code == 200
    bearer = {"authorization": f"Bearer {pair['access_token']}"}
    assert http.post("/auth/logout", headers=bearer).status_code == 204
    assert refused(http, pair["access_token"])
    assert http.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]}).status_code == 401


def test_a_refresh_token_is_no_access_token_and_the_other_way_round(http: httpx.Client) -> None:
    pair = http.post("/auth/login", json={"username": "admin", "password": OPTIONS.admin_password}).json()
    assert refused(http, pair["refresh_token"])
    assert http.post("/auth/refresh", json={"refresh_token": pair["access_token"]}).status_code == 401


def test_two_credentials_at_once_are_none(secured: Secured, http: httpx.Client) -> None:
    token = forged(secured)
    twice = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    assert http.get(ME, headers=twice).status_code == 401
    assert http.get(ME, headers={"authorization": f"Bearer {token}", "x-api-key": "hgm_a_b"}).status_code == 401
    assert http.get(ME, headers={"authorization": f"Basic {token}"}).status_code == 401


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    """The confusion of RS256 and HS256: whoever has the public key signs with its bytes."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = verifier(private.public_key(), "the key")
    assert key.algorithm == "RS256"
    head = {"alg": "HS256", "kid": key.kid, "typ": TYPE}
    body = raw(head, claims()).rpartition(".")[0]
    made = hmac.new(pem, body.encode(), hashlib.sha256).digest()
    token = f"{body}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"
    with pytest.raises(Unauthenticated) as error:
        payload(token.encode(), key, header(token.encode()), audience="hegemon:test", issuer="hegemon:test", options={})
    assert error.value.reason == "another algorithm than the key's"
