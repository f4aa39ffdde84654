"""What of a request goes to the audit log: the auditor that the pipeline calls, over `hegemon.auth.audit`.

Submissions are not recorded there: each job's own document says who submitted it (`scope`), when and through which
node, for as long as the job is kept. Reads are not recorded either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from hegemon.api.call import Call
from hegemon.api.operation import Operation
from hegemon.api.reply import PROBLEM, Reply
from hegemon.api.resource import STRANGER
from hegemon.auth.audit import AuditLog
from hegemon.auth.audit_chain import Record
from hegemon.auth.masking import MASK, is_secret

# Operations that change something and are no entry of the audit log, each with its reason.
UNAUDITED: Final[Mapping[str, str]] = {
    "submitJob": "the job's document names who submitted it, when and where",
    "submitBatch": "the jobs' documents name who submitted them, when and where",
}
# Groups of operations that are refused while the audit log cannot be written.
STRICT_GROUPS: Final = frozenset({"auth", "users", "keys"})
_DETAILS_MAX: Final = 10


class _Code(msgspec.Struct):
    code: str


_CODE: Final = msgspec.json.Decoder(_Code)


class ApiAuditor:
    """Writes down what audited operations did, and which credentials and roles were refused."""

    def __init__(self, log: AuditLog, operations: Iterable[Operation]) -> None:
        self._log = log
        self._strict = {operation.name for operation in operations if operation.group in STRICT_GROUPS}

    async def admit(self, call: Call, operation: str) -> None:
        """`StoreUnavailable` if what the handler will do could not be written down: then it is not done."""
        del call
        self._log.admit(strict=operation in self._strict)

    async def record(self, call: Call, operation: str, reply: Reply) -> None:
        """`OutcomeUnknown` if something was done around an identity and is not written down in time."""
        record = self._record(call, operation, reply.status, outcome(reply))
        if record.details.get("reused"):
            # Somebody has a copy of a session's token: that is never one refusal among others.
            self._log.note(record)
        elif reply.status in (401, 403, 429):
            # A password that is tried without end must not fill the log.
            self._log.refused(record)
        elif reply.status < 400 and operation in self._strict:
            await self._log.write(record)
        else:
            self._log.note(record)

    def broken(self, call: Call, operation: str) -> None:
        """The handler ended in a fault or was cut off: what it did is not known."""
        self._log.note(self._record(call, operation, 0, "unknown"))

    def refused(self, call: Call, operation: str, status: int) -> None:
        """A credential was refused (401), or a role (403)."""
        self._log.refused(self._record(call, operation, status, "forbidden" if status == 403 else "unauthenticated"))

    def _record(self, call: Call, operation: str, status: int, outcome: str) -> Record:
        noted = dict(call.noted or {})
        target = str(noted.pop("target", None) or _path_target(call.scope.get("path_params") or {}))
        # Whoever logs in is nobody yet: the target says whom they want to be, and the handler who they have proved to
        # be.
        proven = str(noted.pop("principal", ""))
        return self._log.record(
            principal=proven if status == 401 or call.principal is STRANGER else call.principal.id,
            action=operation,
            outcome=outcome,
            address=call.address,
            target=target,
            status=status,
            request_id=call.request_id,
            details=small(noted),
        )


def outcome(reply: Reply) -> str:
    """The code of the problem, or "ok"."""
    if reply.status < 400:
        return "ok"
    try:
        return _CODE.decode(reply.body).code if reply.content_type == PROBLEM else f"http_{reply.status}"
    except msgspec.MsgspecError:
        return f"http_{reply.status}"


def small(noted: Mapping[str, Any]) -> dict[str, str | int | bool]:
    """Details as an entry may hold them: few, plain, and nothing under a name that secrets have."""
    found: dict[str, str | int | bool] = {}
    for name, value in list(noted.items())[:_DETAILS_MAX]:
        if is_secret(name):
            found[name] = MASK
        elif isinstance(value, (str, int, bool)):
            found[name] = value
        elif value is not None:
            found[name] = (
                ", ".join(sorted(map(str, value))) if isinstance(value, (set, frozenset, list)) else str(value)
            )
    return found


def _path_target(values: Mapping[str, str]) -> str:
    return next(iter(values.values()), "")
