"""Keys: which are taken, what they are called, and what of them is published."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hegemon.auth.errors import AuthSettingsError
from hegemon.auth.signing import from_files, from_secrets, thumbprint, weakness
from tests.auth.parts import OTHER, SIGNING


def private_file(folder: Path, key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    path = folder / f"{secrets.token_hex(4)}.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def public_file(folder: Path, key: ed25519.Ed25519PrivateKey) -> Path:
    path = folder / f"{secrets.token_hex(4)}.pub"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


@pytest.mark.parametrize(
    "secret",
    [
        "short",
        31 * "x" + "y",
        "a" * 64,
        "0123456789" * 4,
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL",
        "correcthorsebatterystaplesecretkey",
        "your-256-bit-secret-your-256-bit-secret",
        "my-super-password-for-tokens-2026-x7",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "1010101010110101011010101011010101010110",
        "acegikmoqsuwyacegikmoqsuwyacegikmo",
    ],
)
def test_a_weak_or_sample_secret_is_refused_with_a_way_out(secret: str) -> None:
    with pytest.raises(AuthSettingsError, match="openssl rand -hex 32"):
        from_secrets(secret)


def test_random_secrets_are_taken() -> None:
    for _ in range(2000):
        for made in (
            secrets.token_hex(32),
            secrets.token_hex(16),
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(24),
        ):
            assert weakness(made) is None, made


def test_a_shared_secret_has_a_name_that_is_not_made_of_it_and_is_not_published() -> None:
    ring = from_secrets(SIGNING, OTHER)
    assert ring.signing.algorithm == "HS256"
    assert len(ring.signing.kid) == 16
    assert ring.signing.kid not in SIGNING
    assert ring.jwks() == {"keys": []}
    assert ring.find(from_secrets(OTHER).signing.kid) is not None
    assert SIGNING not in repr(ring.signing)


def test_a_keys_kind_fixes_its_algorithm(tmp_path: Path) -> None:
    kinds: dict[str, Any] = {
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        "RS256": rsa.generate_private_key(65537, 2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
    }
    for algorithm, key in kinds.items():
        ring = from_files(private_file(tmp_path, key))
        assert ring.signing.algorithm == algorithm
        (published,) = ring.jwks()["keys"]
        assert published["kid"] == ring.signing.kid == thumbprint(published)
        assert published["alg"] == algorithm
        assert not {"d", "p", "q", "dp", "dq", "qi"} & published.keys()


def test_the_thumbprint_is_that_of_rfc_8037_appendix_a3() -> None:
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "any"}
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_small_and_strange_keys_are_refused(tmp_path: Path) -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused
    for key in (small, ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(AuthSettingsError, match="JWT_PRIVATE_KEY_FILE"):
            from_files(private_file(tmp_path, key))
    (tmp_path / "none.pem").write_text("no key")
    for path in (tmp_path / "none.pem", tmp_path / "missing.pem"):
        with pytest.raises(AuthSettingsError, match="JWT_PRIVATE_KEY_FILE"):
            from_files(path)


def test_keys_of_before_and_of_after_are_published_beside_the_one_that_signs(tmp_path: Path) -> None:
    mine, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    ring = from_files(private_file(tmp_path, mine), [public_file(tmp_path, other)])
    assert len(ring.jwks()["keys"]) == 2
    other_kid = from_files(private_file(tmp_path, other)).signing.kid
    found = ring.find(other_kid)
    assert found is not None
    assert found.sign is None
