"""Encryption of payloads and results where they are stored: MongoDB documents and Redis bodies. Pure.

AES-256-GCM. Each field of each job is sealed under a key of its own, made from the key that is named and from the job's
id, so that a configured key has no limit of messages that counts here (a random nonce alone allows 2^32 under one key).
The id and the field's name are authenticated: what is moved to another job, or from a result to a payload, does not
open. A rotation needs no migration: `kid` names the key, the first of the configured ones seals, all of them open.

    plain   {"enc": "json", "data": JSON}
    sealed  {"enc": "aesgcm", "kid": ID, "data": nonce (12 bytes) + ciphertext + tag (16 bytes)}

What it does not cover: types, queues, tags, errors with their tracebacks, progress and log lines. A handler that writes
a secret into an exception's message stores it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Part = Literal["payload", "result"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
# What sealing adds to the length.
OVERHEAD: Final = NONCE_BYTES + 16
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_FORM: Final = "must be ID:KEY separated by commas, each KEY 32 bytes in base64 (`openssl rand -base64 32`)"


class SealingError(ValueError):
    """The keys are not what they must be. The message does not hold them."""


class Unreadable(Exception):
    """A sealed field cannot be opened: its key is not among PAYLOAD_ENCRYPTION_KEYS, or it was changed or moved."""

    def __init__(self, kid: str, why: str) -> None:
        super().__init__(why)
        self.kid = kid


class Sealed(msgspec.Struct, frozen=True):
    """A field as it is stored. `kid` None: `data` is plain JSON."""

    data: bytes
    kid: str | None = None

    @classmethod
    def of(cls, field: Mapping[str, Any]) -> Sealed:
        """From its form in a document."""
        return cls(bytes(field["data"]), field.get("kid"))

    def stored(self) -> dict[str, Any]:
        """Its form in a document."""
        if self.kid is None:
            return {"enc": "json", "data": self.data}
        return {"enc": "aesgcm", "kid": self.kid, "data": self.data}


class Sealer:
    """Seals with the first of `keys` (id -> 32 bytes) and opens with all of them; without any it passes all through."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)
        self.kid = next(iter(self._keys), None)

    @classmethod
    def of(cls, text: str) -> Sealer:
        """The sealer of PAYLOAD_ENCRYPTION_KEYS, empty for none. Raises SealingError."""
        keys: dict[str, bytes] = {}
        for item in text.split(",") if text.strip() else ():
            kid, colon, encoded = item.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                key = b""
            if not colon or not _KEY_ID.fullmatch(kid) or len(key) != KEY_BYTES:
                raise SealingError(_FORM)
            if kid in keys:
                raise SealingError("names one key twice; each ID must stand there once")
            if len(set(key)) < KEY_BYTES // 4:
                raise SealingError("holds a key that is no random one; make it with `openssl rand -base64 32`")
            keys[kid] = key
        return cls(keys)

    def __bool__(self) -> bool:
        return self.kid is not None

    def seal(self, job_id: str, part: Part, data: bytes) -> Sealed:
        """`data` for storage under this job and part."""
        if self.kid is None:
            return Sealed(data)
        nonce = os.urandom(NONCE_BYTES)
        context = _context(job_id, part)
        return Sealed(nonce + self._cipher(self.kid, context).encrypt(nonce, data, context), self.kid)

    def open(self, job_id: str, part: Part, sealed: Sealed) -> bytes:
        """What was sealed. Raises Unreadable."""
        if sealed.kid is None:
            return sealed.data
        if sealed.kid not in self._keys:
            raise Unreadable(sealed.kid, f"it is encrypted with the key {sealed.kid!r}, which this node does not have")
        context = _context(job_id, part)
        nonce, text = sealed.data[:NONCE_BYTES], sealed.data[NONCE_BYTES:]
        try:
            return self._cipher(sealed.kid, context).decrypt(nonce, text, context)
        except (InvalidTag, ValueError) as error:
            why = f"it was changed since it was encrypted with the key {sealed.kid!r}, or that is another key now"
            raise Unreadable(sealed.kid, why) from error

    def digest(self, data: bytes, kid: str | None) -> bytes | None:
        """A digest of `data` by which equal data are known, under the key `kid`: whoever reads the store cannot try
        guesses of what it stands for. None where that key is not known any more; without a key it is a plain one.
        """
        if kid is None:
            return hashlib.blake2b(data, digest_size=16).digest()
        key = self._keys.get(kid)
        return None if key is None else hashlib.blake2b(data, digest_size=16, key=key, person=b"digest").digest()

    def __repr__(self) -> str:
        return f"Sealer({', '.join(self._keys)})"

    def _cipher(self, kid: str, context: bytes) -> AESGCM:
        # Keyed BLAKE2b derives as HMAC does, for a third of its cost.
        return AESGCM(hashlib.blake2b(context, digest_size=KEY_BYTES, key=self._keys[kid], person=b"seal").digest())


PLAIN: Final = Sealer({})


def _context(job_id: str, part: Part) -> bytes:
    return f"{part}:{job_id}".encode()
