"""What stands in Redis for a job: an *entry* in a list and a *body* in a hash. An id is in the index iff its body is.

An entry names everything that dispatch decides by, so that a backlog is scheduled without touching a body:
`id:attempt:seq:priority:flags:queue:type`. A body is `attempt:` and then MessagePack; an entry whose attempt differs
from its body's is stale and is dropped where it is met. Bodies above `STUB_BYTES` leave their payload in MongoDB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hegemon.queue.provenance import trace_of
from hegemon.queue.sealing import Sealed
from hegemon.tracing.context import TraceContext

STUB_BYTES: Final = 16_384
SUSPECT_FLAG: Final = "s"


class Entry(msgspec.Struct, frozen=True):
    """One parsed index entry; `text` is what Redis holds."""

    text: str
    id: str
    attempt: int
    seq: int
    priority: int
    suspect: bool
    queue: str
    type: str

    def again(self, *, seq: int) -> str:
        """The text of this job's next attempt, no suspect any more."""
        return f"{self.id}:{self.attempt + 1}:{seq}:{self.priority}::{self.queue}:{self.type}"


class Body(msgspec.Struct, array_like=True, frozen=True):
    """All that a worker needs to run one attempt. `payload` is None in a stub: read it from MongoDB. It is sealed as it
    is in the document; `kid` names the key.
    """

    type: str
    payload: bytes | None
    queue: str
    priority: int
    seq: int
    failures: int
    crashes: int
    max_retries: int | None
    timeout_ms: int | None
    created_at: int
    expires_at: int | None = None
    retry: dict[str, Any] | None = None
    suspect: bool = False
    scope: str = "anonymous"
    tags: tuple[str, ...] = ()
    kid: str | None = None
    request_id: str | None = None
    trace: TraceContext | None = None

    def with_payload(self, sealed: Sealed) -> Body:
        """A stub made whole."""
        return msgspec.structs.replace(self, payload=sealed.data, kid=sealed.kid)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Body)


def entry_text(document: Mapping[str, Any]) -> str:
    """The entry of a document's present attempt."""
    flag = SUSPECT_FLAG if document.get("suspect") else ""
    return (
        f"{document['_id']}:{document['attempt']}:{document['seq']}:{document['priority']}:{flag}"
        f":{document['queue']}:{document['type']}"
    )


def parse_entry(text: str) -> Entry:
    """The entry behind its text; raises `ValueError` when it is none."""
    job_id, attempt, seq, priority, flag, queue, type_ = text.split(":", 6)
    return Entry(text, job_id, int(attempt), int(seq), int(priority), flag == SUSPECT_FLAG, queue, type_)


def encode_body(document: Mapping[str, Any]) -> bytes:
    """The body of a document's present attempt."""
    body = Body(
        type=document["type"],
        payload=bytes(document["payload"]["data"]),
        queue=document["queue"],
        priority=document["priority"],
        seq=document["seq"],
        failures=document["failures"],
        crashes=document["crashes"],
        max_retries=document.get("max_retries"),
        timeout_ms=document.get("timeout_ms"),
        created_at=document["created_at"],
        expires_at=document.get("expires_at"),
        retry=document.get("retry"),
        suspect=bool(document.get("suspect")),
        scope=document["scope"],
        tags=tuple(document.get("tags", ())),
        kid=document["payload"].get("kid"),
        request_id=document.get("request_id"),
        trace=trace_of(document),
    )
    return reencode_body(document["attempt"], body)


def reencode_body(attempt: int, body: Body) -> bytes:
    """What a hash field holds for this attempt, a stub where the payload is large."""
    if body.payload is not None and len(body.payload) > STUB_BYTES:
        body = msgspec.structs.replace(body, payload=None)
    return b"%d:%b" % (attempt, _encoder.encode(body))


def decode_body(data: bytes) -> tuple[int, Body]:
    """(attempt, body) of what a hash field holds."""
    attempt, _, packed = data.partition(b":")
    return int(attempt), _decoder.decode(packed)
