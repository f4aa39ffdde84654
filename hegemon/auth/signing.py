"""The keys that sign and verify this cluster's tokens: one that signs, any number that are accepted beside it.

Rotation without a stop: every node accepts the new key, then every node signs with it, then the old one goes once the
last of its tokens has expired. A key's algorithm is fixed by what it is, never by what a token says (RFC 8725, 3.1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from hegemon.auth.errors import AuthSettingsError

RSA_BITS_MIN: Final = 2048
SECRET_BYTES_MIN: Final = 32
# By the letters' own frequencies: 32 random hexadecimal digits have about 112, and hardly ever fewer than 95.
SECRET_BITS_MIN: Final = 80.0
# What stands in samples and tutorials. Six letters and more, so that no random text is refused for one.
_SAMPLE_WORDS: Final = (
    "secret", "password", "passwd", "passphrase", "changeme", "change-me", "change_me", "replace", "example", "sample",
    "insecure", "default", "hegemon", "development", "testing", "placeholder", "your-256-bit", "supersafe", "letmein",
    "qwerty", "abcdef", "012345", "123456", "654321", "fedcba", "private", "public", "signing", "jwt-key", "jwt_key",
)  # fmt: skip
# And whole ones, which look random: from tutorials, frameworks' templates and the documentation of JWT itself.
_SAMPLES: Final = frozenset(
    {
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",  # RFC 7515, A.1
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
        "a-string-secret-at-least-256-bits-long",  # jwt.io
        "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",  # RFC 7520, 3.5
    }
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. `sign` is None for a key that only verifies; `jwk` is its public form, None for a shared secret."""

    kid: str
    algorithm: str
    verify: Any = field(repr=False)
    sign: Any = field(default=None, repr=False)
    jwk: Mapping[str, Any] | None = None


class KeyRing:
    """The signing key and the others that are accepted, by their `kid`."""

    def __init__(self, signing: SigningKey, others: Iterable[SigningKey] = ()) -> None:
        self.signing = signing
        self._keys = {key.kid: key for key in (*others, signing)}

    def find(self, kid: object) -> SigningKey | None:
        """The accepted key of this name."""
        return self._keys.get(kid) if isinstance(kid, str) else None

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWK set (RFC 7517); empty where tokens are signed with a shared secret."""
        return {"keys": [dict(key.jwk) for key in self._keys.values() if key.jwk is not None]}


def from_secrets(secret: str, other: str | None = None) -> KeyRing:
    """HS256 with shared secrets. AuthSettingsError for a weak one."""
    return KeyRing(_shared(secret, "JWT_SECRET"), () if other is None else (_shared(other, "JWT_SECRET_OTHER"),))


def from_files(private: Path, others: Sequence[Path] = ()) -> KeyRing:
    """RS256, ES256 or EdDSA by the kind of key, from PEM files. AuthSettingsError for what cannot be used."""
    try:
        key = load_pem_private_key(_read(private, "JWT_PRIVATE_KEY_FILE"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuthSettingsError(
            f"JWT_PRIVATE_KEY_FILE={private} must be a private key in PEM form without a passphrase"
        ) from error
    if not isinstance(key, (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey)):
        raise AuthSettingsError(f"JWT_PRIVATE_KEY_FILE={private} must be a key of RSA, Ed25519 or EC P-256")
    signing = verifier(key.public_key(), f"JWT_PRIVATE_KEY_FILE={private}", sign=key)
    return KeyRing(signing, [_public(path) for path in others])


def verifier(key: object, where: str, *, kid: str | None = None, sign: Any = None) -> SigningKey:
    """The key with its one algorithm; `kid` if it has a name, else its thumbprint. AuthSettingsError for a weak one."""
    algorithm: str
    jwk: dict[str, Any]
    if isinstance(key, RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            raise AuthSettingsError(f"{where}: an RSA key needs {RSA_BITS_MIN} bits, this one has {key.key_size}")
        algorithm, jwk = "RS256", RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, Ed25519PublicKey):
        algorithm, jwk = "EdDSA", OKPAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        algorithm, jwk = "ES256", ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        raise AuthSettingsError(f"{where} must be a key of RSA, Ed25519 or EC P-256")
    kid = kid or thumbprint(jwk)
    public: dict[str, Any] = {name: jwk[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in jwk}
    return SigningKey(kid, algorithm, key, sign, {**public, "kid": kid, "alg": algorithm, "use": "sig"})


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The key's name by what it is (RFC 7638), base64url of SHA-256."""
    needed = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}[jwk["kty"]]
    canonical = msgspec.json.encode({name: jwk[name] for name in needed}, order="sorted")
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()


def weakness(secret: str) -> str | None:
    """Why a shared secret is too easily guessed, as it goes on after "JWT_SECRET"; None if nothing is found."""
    plain = secret.casefold()
    if len(secret.encode(errors="surrogateescape")) < SECRET_BYTES_MIN:
        return f"must be at least {SECRET_BYTES_MIN} bytes long"
    if secret.strip() in _SAMPLES:
        return "is a sample that stands in public documents"
    if any(word in plain for word in _SAMPLE_WORDS):
        return "holds a word or a row of digits that stands in every list of guesses"
    if any(secret == (secret[:period] * len(secret))[: len(secret)] for period in range(1, len(secret) // 2 + 1)):
        return "repeats itself"
    steps = Counter(ord(after) - ord(before) for before, after in pairwise(secret))
    if max(steps.values()) > len(secret) // 3:
        return "is a row of characters"
    total = len(secret)
    bits = -sum(count * math.log2(count / total) for count in Counter(secret).values())
    return "has too few different characters to be random" if bits < SECRET_BITS_MIN else None


def _shared(secret: str, name: str) -> SigningKey:
    why = weakness(secret)
    if why is not None:
        raise AuthSettingsError(f"{name} {why}; make one with `openssl rand -hex 32`")
    key = secret.encode(errors="surrogateescape")
    # Its name is known to whoever sees a token: it must say nothing of the secret that can be tried offline any easier
    # than the signature beside it.
    return SigningKey(hmac.new(key, b"hegemon kid", hashlib.sha256).hexdigest()[:16], "HS256", key, key)


def _public(path: Path) -> SigningKey:
    try:
        key = load_pem_public_key(_read(path, "JWT_PUBLIC_KEY_FILES"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthSettingsError(f"JWT_PUBLIC_KEY_FILES: {path} must be a public key in PEM form") from error
    return verifier(key, f"JWT_PUBLIC_KEY_FILES: {path}")


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuthSettingsError(f"{name}: {path} cannot be read: {error.strerror}") from error
