"""What travels between nodes: sealed frames, alike for datagrams and streams. Pure: no socket, no clock, no state but
the counter of what was sealed. Why it is built this way: docs/adr/0012-node-to-node-frames.md.

======  =====  =============  =========================================================================================
offset  bytes  field          meaning
======  =====  =============  =========================================================================================
0       2      magic          ``HG``
2       1      layout         1
3       1      kind           `Kind`
4       4      key name       which secret sealed it, so that what other clusters send costs no decryption
8       16     sender boot    random, new with every start of the sender
24      16     receiver boot  whom it is meant for; zeros in a HELLO, which is sent before that is known
40      8      counter        big endian, from 1, one for all that the sender's boot seals
48      n      ciphertext     ChaCha20-Poly1305 of the payload; bytes 0 to 47 are the associated data
48 + n  16     tag
======  =====  =============  =========================================================================================

On a stream each frame follows its length, 4 bytes, big endian. The frame is capped before it is read or decrypted.

Keys: ``root = HKDF-SHA256(secret, salt=LABEL, info=cluster id)``, ``key = HKDF-Expand(root, sender boot)``. A key
belongs to one boot of one sender, which counts every frame that it seals, whoever it is for: with the counter as the
nonce no nonce can come twice under a key, unless two boots draw the same 128 random bits. To whom a frame may be
delivered is bound by the associated data.

Trusted until when: that a frame was sealed by someone who has the secret: for good. That it is meant for us, new, and
not said before: only `hegemon.cluster.sessions` can tell.

=================================================  =================================
what arrives                                       `FrameRefused.reason`
=================================================  =================================
shorter than a frame, other magic, layout or kind  garbage
longer than the cap                                oversize
another cluster's, or under a secret not accepted  foreign_cluster (nothing decrypted)
any bit changed, or sealed without the secret      forged
=================================================  =================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from hegemon.election.contract import DATAGRAM_MAX, STREAM_MAX

MAGIC: Final = b"HG"
LAYOUT: Final = 1
BOOT_BYTES: Final = 16
NOBODY: Final = bytes(BOOT_BYTES)
_HEADER: Final = struct.Struct(">2sBB4s16s16sQ")
_TAG_BYTES: Final = 16
OVERHEAD: Final = _HEADER.size + _TAG_BYTES
# The largest datagram is 1,264 bytes, so that it passes tunnels too (IPv6 guarantees 1,280 with its headers).
DATAGRAM_FRAME_MAX: Final = DATAGRAM_MAX + OVERHEAD
STREAM_FRAME_MAX: Final = STREAM_MAX + OVERHEAD
_LABEL: Final = b"hegemon node frames 1"


class Kind(IntEnum):
    """What a frame is. The first three prove who is there; the others carry an elector's payload."""

    HELLO = 1
    WELCOME = 2
    CONFIRM = 3
    DATAGRAM = 4
    STREAM = 5


_KINDS: Final = {int(kind): kind for kind in Kind}


class FrameRefused(Exception):
    """The frame is not one of ours, or was changed; `reason` is the counter that it adds to."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """What a frame says of itself. Nothing of it may be believed before `open_frame` has returned."""

    kind: Kind
    key_name: bytes
    sender: bytes
    receiver: bytes
    counter: int


@dataclass(frozen=True, slots=True)
class Key:
    """What one secret gives: `name` is public, `root` is not."""

    name: bytes
    root: bytes = field(repr=False)

    @classmethod
    def derive(cls, cluster_id: str, secret: str | None) -> Key:
        """The key of a cluster. Without a secret it only keeps clusters apart on one machine: anyone can make it."""
        material = b"open" if secret is None else b"secret:" + secret.encode()
        root = HKDF(algorithm=SHA256(), length=32, salt=_LABEL, info=cluster_id.encode()).derive(material)
        return cls(HKDFExpand(algorithm=SHA256(), length=4, info=b"name").derive(root), root)

    def cipher(self, boot: bytes) -> ChaCha20Poly1305:
        """What `boot`, a sender, seals with under this secret."""
        return ChaCha20Poly1305(HKDFExpand(algorithm=SHA256(), length=32, info=b"boot " + boot).derive(self.root))


@dataclass(frozen=True, slots=True)
class Keys:
    """What a node seals with, and all that it accepts.

    Rotation from OLD to NEW without a moment of silence, each step on every node before the next begins:
    1. CLUSTER_SECRET=OLD, CLUSTER_SECRET_OTHER=NEW  2. CLUSTER_SECRET=NEW, CLUSTER_SECRET_OTHER=OLD
    3. CLUSTER_SECRET=NEW alone. Neighbouring steps understand each other; 0 and 2, or 1 and 3, do not.
    """

    sending: Key
    other: Key | None = None

    @classmethod
    def from_secrets(cls, cluster_id: str, secret: str | None, other: str | None = None) -> Keys:
        """Seals with `secret`, accepts both; None: the cluster id alone makes the key. Raises ValueError for an
        `other` without a `secret`, which would accept what it cannot answer, and for an empty secret."""
        if "" in {secret, other}:
            raise ValueError("a cluster secret must not be empty")
        if other is not None and secret is None:
            raise ValueError("a second accepted secret needs a first one")
        return cls(Key.derive(cluster_id, secret), None if other is None else Key.derive(cluster_id, other))

    def cipher(self, key_name: bytes, boot: bytes) -> ChaCha20Poly1305:
        """What opens a frame of `boot`; FrameRefused("foreign_cluster") for a key that is not accepted."""
        if key_name == self.sending.name:
            return self.sending.cipher(boot)
        if self.other is not None and key_name == self.other.name:
            return self.other.cipher(boot)
        raise FrameRefused("foreign_cluster")


class Sealer:
    """Seals all that one boot sends. `boot` must be 16 random bytes that no other Sealer was given, and a Sealer must
    not live on in two processes (a fork): its counter is what keeps the nonces apart."""

    def __init__(self, key: Key, boot: bytes) -> None:
        if len(boot) != BOOT_BYTES or boot == NOBODY:
            raise ValueError(f"a boot id is {BOOT_BYTES} random bytes")
        self.boot = boot
        self._name = key.name
        self._cipher = key.cipher(boot)
        self._counter = 0

    def seal(self, kind: Kind, receiver: bytes, payload: bytes) -> bytes:
        """A whole frame. Payloads above the contract's sizes are the caller's to refuse."""
        self._counter += 1
        header = _HEADER.pack(MAGIC, LAYOUT, kind, self._name, self.boot, receiver, self._counter)
        return header + self._cipher.encrypt(_nonce(self._counter), payload, header)


def parse(frame: bytes, *, most: int) -> Header:
    """The header of a frame of at most `most` bytes. Raises FrameRefused; costs no decryption."""
    if len(frame) > most:
        raise FrameRefused("oversize")
    if len(frame) < OVERHEAD:
        raise FrameRefused("garbage")
    magic, layout, kind, key_name, sender, receiver, counter = _HEADER.unpack_from(frame)
    known = _KINDS.get(kind)
    if magic != MAGIC or layout != LAYOUT or known is None:
        raise FrameRefused("garbage")
    return Header(known, key_name, sender, receiver, counter)


def open_frame(cipher: ChaCha20Poly1305, header: Header, frame: bytes) -> bytes:
    """The payload of a frame that `parse` took; FrameRefused("forged") if it, or its header, is not as sealed."""
    try:
        return cipher.decrypt(_nonce(header.counter), frame[_HEADER.size :], frame[: _HEADER.size])
    except InvalidTag:
        raise FrameRefused("forged") from None


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")
