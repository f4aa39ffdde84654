"""The audit log over HTTP, for admins: who did what, newest first, and whether the log is whole."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from hegemon.api import parameters
from hegemon.api.call import Call
from hegemon.api.operation import STORE_PROBLEMS, Answer, Operation
from hegemon.api.parameters import Parameter
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Node
from hegemon.auth.audit import AuditLog
from hegemon.auth.audit_chain import Entry, Fault
from hegemon.auth.audit_verification import verify
from hegemon.queue.jobs import rfc3339

AUDIT: Final = "/api/v1/audit"
SLICE_MAX: Final = 10_000
SLICE_DEFAULT: Final = 5_000
_SEQ_MAX: Final = 1 << 53
_TEXT_MAX: Final = 200
_HASH: Final = re.compile(r"([0-9]{1,15}):([0-9a-f]{64})")


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to what, from where, and what came of it. `outcome` is `ok` or a problem's code; `status` the HTTP
    status, 0 where there was no request. `hash` covers the entry and the one before."""

    seq: int
    at: str
    node: str
    principal: str
    address: str
    action: str
    target: str
    outcome: str
    status: int
    request_id: str
    details: dict[str, str | int | bool]
    hash: str


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first. `next_cursor` is null on the last page."""

    entries: list[AuditEntry]
    next_cursor: str | None


class AuditHead(msgspec.Struct, frozen=True):
    """The newest entry. Kept elsewhere, it proves later that no end was cut off."""

    seq: int
    hash: str


class AuditVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a slice of the log looks like: entries `first` to `last`. `next` is where the next slice begins, null at the
    end of the log, where `head` is given; entries up to `removed_through` were removed by AUDIT_RETENTION."""

    ok: bool
    first: int
    last: int
    checked: int
    removed_through: int
    next: int | None
    head: AuditHead | None
    faults: list[Fault]


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_LIST: Final = frozenset({"principal", "action", "outcome", "since", "until", "limit", "cursor"})
_VERIFY: Final = frozenset({"from", "limit", "expect"})


async def list_audit(node: Node, call: Call) -> Reply:
    """GET /api/v1/audit"""
    query = call.query(_LIST)
    which: dict[str, Any] = {name: _text(query, name) for name in ("principal", "action") if name in query}
    if "outcome" in query:
        which["outcome"] = {"$ne": "ok"} if query["outcome"] == "failed" else _text(query, "outcome")
    times = {
        operator: _time_ms(query, name) for name, operator in (("since", "$gte"), ("until", "$lt")) if name in query
    }
    if times:
        which["at_ms"] = times
    limit = parameters.limit(query)
    found = await _log(node).store.page(which, below=_decode(parameters.cursor(query)), limit=limit + 1)
    more, page = len(found) > limit, found[:limit]
    return ok(AuditPage([_view(entry) for entry in page], _encode(page[-1].seq) if more else None))


async def verify_audit(node: Node, call: Call) -> Reply:
    """GET /api/v1/audit/verification"""
    query = call.query(_VERIFY)
    first = _whole(query, "from", 1, _SEQ_MAX)
    limit = _whole(query, "limit", SLICE_DEFAULT, SLICE_MAX)
    expected = None
    if "expect" in query:
        named = _HASH.fullmatch(query["expect"])
        if named is None:
            raise ApiError("invalid_parameter", "must be an entry's number, a colon and its hash", field="expect")
        expected = (int(named[1]), named[2])
    log = _log(node)
    found = await verify(log.store, log.keys, first=first, limit=limit, expected=expected)
    head = None if found.head is None else AuditHead(found.head.seq, found.head.hash)
    return ok(
        AuditVerdict(
            ok=not found.faults,
            first=found.first,
            last=found.last,
            checked=found.checked,
            removed_through=found.removed_through,
            next=found.next,
            head=head,
            faults=found.faults,
        )
    )


def _log(node: Node) -> AuditLog:
    log = node.services.get("audit")
    if not isinstance(log, AuditLog):
        raise ApiError("not_found", "this node keeps no audit log")
    return log


def _view(entry: Entry) -> AuditEntry:
    return AuditEntry(
        seq=entry.seq,
        at=rfc3339(entry.at_ms) or "",
        node=entry.node,
        principal=entry.principal,
        address=entry.address,
        action=entry.action,
        target=entry.target,
        outcome=entry.outcome,
        status=entry.status,
        request_id=entry.request_id,
        details=dict(entry.details),
        hash=entry.hash,
    )


def _text(query: dict[str, str], name: str) -> str:
    if not 1 <= len(query[name]) <= _TEXT_MAX:
        raise ApiError("invalid_parameter", f"must be 1 to {_TEXT_MAX} characters", field=name)
    return query[name]


def _time_ms(query: dict[str, str], name: str) -> int:
    try:
        return int(msgspec.convert(query[name], _Moment).timestamp() * 1000)
    except (msgspec.ValidationError, ValueError, OverflowError):
        says = "must be a time as RFC 3339 has it, such as 2026-01-31T06:00:00Z"
        raise ApiError("invalid_parameter", says, field=name) from None


def _whole(query: dict[str, str], name: str, default: int, high: int | None = None) -> int:
    text = query.get(name, str(default))
    high = high or _SEQ_MAX
    if not re.fullmatch("[0-9]{1,16}", text) or not 1 <= int(text) <= high:
        raise ApiError("invalid_parameter", f"must be a whole number from 1 to {high}", field=name)
    return int(text)


def _encode(seq: int) -> str:
    return base64.urlsafe_b64encode(b"a" + seq.to_bytes(8, "big")).decode().rstrip("=")


def _decode(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        data = b""
    seq = int.from_bytes(data[1:], "big")
    if len(data) != 9 or data[:1] != b"a" or seq > _SEQ_MAX:
        raise ApiError("invalid_parameter", "this cursor is not one that a page of the audit log gave", field="cursor")
    return seq


_NAME: Final = {"type": "string", "minLength": 1, "maxLength": _TEXT_MAX}
_TIME: Final = {"type": "string", "format": "date-time"}
_AN_ENTRY: Final[dict[str, Any]] = {
    "seq": 4711,
    "at": "2025-10-02T08:15:30.123Z",
    "node": "node-1",
    "principal": "user:ana",
    "address": "192.0.2.7",
    "action": "cancelJob",
    "target": "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a",
    "outcome": "ok",
    "status": 200,
    "request_id": "9f86d081884c7d65",
    "details": {},
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
_A_VERDICT: Final[dict[str, Any]] = {
    "ok": True,
    "first": 1,
    "last": 4711,
    "checked": 4711,
    "removed_through": 0,
    "next": None,
    "head": {"seq": 4711, "hash": _AN_ENTRY["hash"]},
    "faults": [],
}

OPERATIONS: Final = (
    Operation(
        "GET",
        AUDIT,
        "listAudit",
        "audit",
        "Who did what, newest first",
        list_audit,
        (Answer(200, "A page of entries.", AuditPage, {"entries": [_AN_ENTRY], "next_cursor": None}),),
        "Submissions are not here: each job says who submitted it. Refused credentials are sampled: an entry says "
        "under `left_out` how many like it are not here.",
        (
            Parameter("principal", "Only what this caller did.", _NAME, "user:ana"),
            Parameter("action", "Only this operation, by its name in this description.", _NAME, "cancelJob"),
            Parameter(
                "outcome", "Only with this outcome: `ok`, a problem's code, or `failed` for all but `ok`.", _NAME, "ok"
            ),
            Parameter("since", "Only at this time or later.", _TIME, "2026-01-31T06:00:00Z"),
            Parameter("until", "Only before this time.", _TIME, "2026-02-01T06:00:00Z"),
            parameters.LIMIT,
            parameters.CURSOR,
        ),
        ("invalid_parameter", "not_found", *STORE_PROBLEMS),
    ),
    Operation(
        "GET",
        f"{AUDIT}/verification",
        "verifyAudit",
        "audit",
        "Is the audit log whole? A slice at a time",
        verify_audit,
        (Answer(200, "What the slice looks like.", AuditVerdict, _A_VERDICT),),
        parameters=(
            Parameter(
                "from", "The first entry of the slice.", {"type": "integer", "minimum": 1, "maximum": _SEQ_MAX}, 1
            ),
            Parameter(
                "limit",
                "How many entries a slice holds at most.",
                {"type": "integer", "minimum": 1, "maximum": SLICE_MAX, "default": SLICE_DEFAULT},
                SLICE_DEFAULT,
            ),
            Parameter(
                "expect",
                "An entry that was there before, as its number, a colon and its hash: `head` of an earlier answer.",
                {"type": "string", "pattern": f"^{_HASH.pattern}$"},
                f"4711:{_AN_ENTRY['hash']}",
            ),
        ),
        problems=("invalid_parameter", "not_found", *STORE_PROBLEMS),
    ),
)
