"""The audit log as a chain of hashes, with no store and no clock: how entries are linked, and how a break is found.

    entry n      hash_n = H(entry n without its hash, which names hash_(n-1) as `prev`)
    head         (seq, hash) of the last entry, sealed: without it, entries cut off at the end would not be missed
    checkpoint   an entry that names the last entry (seq, hash) that retention removed: the chain then starts behind it

H is HMAC-SHA256 under AUDIT_KEY, or plain SHA-256 without one. Who can write the store but has no key:

| does                                   | with a key                         | without a key                      |
|----------------------------------------|------------------------------------|------------------------------------|
| alters, removes, swaps or inserts rows | found                              | found, unless it makes all later   |
|                                        |                                    | rows and the head anew             |
| cuts rows off at the end               | found, unless an old head is put   | found, unless it makes the head    |
|                                        | back                               | anew                               |
| puts back a whole older log and head   | found by who kept a newer head     | the same                           |
| makes the log anew without a key       | found: the head must be keyed      | not found                          |
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

GENESIS: Final = "0" * 64
CHECKPOINT: Final = "audit.checkpoint"
# A log that was altered in a million places is described by the first few.
FAULTS_MAX: Final = 100

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to what, from where, and what came of it. `outcome` is "ok" or the problem's code; `status` the HTTP
    status, 0 where there was no request."""

    at_ms: int
    node: str
    principal: str
    action: str
    outcome: str
    address: str = ""
    target: str = ""
    status: int = 0
    request_id: str = ""
    details: Mapping[str, str | int | bool] = {}


class Entry(Record, frozen=True, kw_only=True):
    """A record in its place in the chain. `kid` names the key of `hash`; "" for plain SHA-256."""

    seq: int
    prev: str
    kid: str
    hash: str


class Head(msgspec.Struct, frozen=True):
    """The last entry. `seal` is over seq and hash, under the key that `kid` names."""

    seq: int
    hash: str
    kid: str
    seal: str


class Fault(msgspec.Struct, frozen=True):
    """Where the chain is broken, and how: `kind` is stable, `says` a sentence. `seq` 0: not at one entry."""

    seq: int
    kind: str
    says: str


class Keys:
    """AUDIT_KEY and those that it replaced: the first makes hashes, all check them. None at all: plain SHA-256."""

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._secrets = {_kid(secret): secret for secret in secrets}
        self.kid = next(iter(self._secrets), "")

    def hash(self, data: bytes, kid: str) -> str | None:
        """The hash under that key; None if the key is not here."""
        if not kid:
            return hashlib.sha256(data).hexdigest()
        secret = self._secrets.get(kid)
        return None if secret is None else hmac.new(secret, data, hashlib.sha256).hexdigest()

    def __bool__(self) -> bool:
        return bool(self._secrets)


def _kid(secret: bytes) -> str:
    return hmac.new(secret, b"hegemon audit key id", hashlib.sha256).hexdigest()[:16]


def link(record: Record, *, seq: int, prev: str, keys: Keys) -> Entry:
    """The record as entry `seq`, behind the entry whose hash is `prev`."""
    fields: dict[str, Any] = {name: getattr(record, name) for name in Record.__struct_fields__}
    fields |= {"seq": seq, "prev": prev, "kid": keys.kid}
    made = keys.hash(_ENCODER.encode(fields), keys.kid)
    assert made is not None, "one's own key is there"  # noqa: S101 - for the reader and the type checker
    return Entry(**fields, hash=made)


def chain(records: Iterable[Record], head: Head, keys: Keys) -> tuple[list[Entry], Head]:
    """Link records behind `head`, in their order; the entries and the new head."""
    entries: list[Entry] = []
    seq, prev = head.seq, head.hash
    for record in records:
        seq += 1
        entries.append(link(record, seq=seq, prev=prev, keys=keys))
        prev = entries[-1].hash
    return entries, sealed(seq, prev, keys)


def sealed(seq: int, hash_: str, keys: Keys) -> Head:
    """A head under the present key."""
    seal = keys.hash(_head_bytes(seq, hash_), keys.kid)
    assert seal is not None, "one's own key is there"  # noqa: S101 - as above
    return Head(seq, hash_, keys.kid, seal)


def beginning(keys: Keys) -> Head:
    """The head of a log with no entry."""
    return sealed(0, GENESIS, keys)


def _head_bytes(seq: int, hash_: str) -> bytes:
    return f"head {seq} {hash_}".encode()


def head_faults(head: Head, keys: Keys, *, keyed_seen: bool = False) -> list[Fault]:
    """What is wrong with a head by itself. `keyed_seen`: the log holds a keyed entry, so its head must be keyed."""
    expected = keys.hash(_head_bytes(head.seq, head.hash), head.kid)
    if expected is None:
        return [Fault(0, "unknown_key", f"the head was sealed under the key {head.kid}, which is not here")]
    if not hmac.compare_digest(expected, head.seal):
        return [Fault(0, "head_forged", "the head's seal does not fit it")]
    if not head.kid and (keys or keyed_seen) and head.seq:
        return [
            Fault(0, "head_unkeyed", "the head was sealed without AUDIT_KEY: by a node that has none, or by others")
        ]
    return []


class Verifier:
    """Walks the chain upwards. `feed` entries in the order of their numbers, then `end`; `faults` has what is wrong.

    `prev` is the hash that the first entry must name: GENESIS at the start of the log, that of a checkpoint, or of the
    entry before.
    """

    def __init__(self, *, first: int, prev: str, keys: Keys, keyed: bool = False) -> None:
        self.next = first
        self.prev = prev
        self.keyed = keyed
        self.checked = 0
        self.faults: list[Fault] = []
        self._keys = keys

    def feed(self, entry: Entry) -> None:
        """Check one entry."""
        if entry.seq != self.next:
            last = entry.seq - 1
            which = f"entry {self.next} is" if last == self.next else f"entries {self.next} to {last} are"
            self._fault(self.next, "missing", f"{which} missing")
        elif not hmac.compare_digest(entry.prev, self.prev):
            self._fault(entry.seq, "unlinked", f"entry {entry.seq} does not follow the entry before it")
        self._check_hash(entry)
        self.keyed = self.keyed or bool(entry.kid)
        self.checked += 1
        self.next, self.prev = entry.seq + 1, entry.hash

    def end(self, head: Head | None) -> None:
        """The last entry was fed: it must be the head's."""
        if head is None:
            if self.next > 1:
                self._fault(0, "head_missing", "there are entries but no head: it was removed")
            return
        self.faults += head_faults(head, self._keys, keyed_seen=self.keyed)
        last = self.next - 1
        if head.seq > last:
            self._fault(
                last + 1, "truncated", f"the log ends at entry {last}, its head is {head.seq}: the end was cut off"
            )
        elif head.seq < last:
            self._fault(head.seq + 1, "beyond_head", f"the head is {head.seq}, but the log goes on to entry {last}")
        elif head.hash != self.prev:
            self._fault(last, "head_differs", f"entry {last} is not the one that the head names")

    def _check_hash(self, entry: Entry) -> None:
        fields = {name: getattr(entry, name) for name in Entry.__struct_fields__ if name != "hash"}
        expected = self._keys.hash(_ENCODER.encode(fields), entry.kid)
        if expected is None:
            self._fault(entry.seq, "unknown_key", f"entry {entry.seq} was made under the key {entry.kid}, not here")
        elif not hmac.compare_digest(expected, entry.hash):
            self._fault(entry.seq, "altered", f"entry {entry.seq} is not as it was written")
        elif self.keyed and not entry.kid:
            self._fault(entry.seq, "unkeyed", f"entry {entry.seq} was made without AUDIT_KEY, behind one with it")

    def _fault(self, seq: int, kind: str, says: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(seq, kind, says))


def checkpoint_of(entry: Entry) -> tuple[int, str] | None:
    """What a checkpoint says is removed: the last entry's number and hash; None for other entries."""
    through, hash_ = entry.details.get("through"), entry.details.get("hash")
    if entry.action != CHECKPOINT or not isinstance(through, int) or not isinstance(hash_, str):
        return None
    return through, hash_
