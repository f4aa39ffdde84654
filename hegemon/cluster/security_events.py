"""Which records of the audit log are events, too. Everybody who may look at a cluster sees events, so they say what was
done and not by whom or from where: that stays in the log, which is for admins.
"""

from __future__ import annotations

from typing import Final

from hegemon.auth.audit_chain import Record
from hegemon.events.bus import Emit
from hegemon.events.security import AuditCutOff, IdentityChanged, LoginFailed, Refused, Revoked

# Operations after which somebody's credential is void.
REVOKING: Final = frozenset({"logout", "changePassword", "removeUser", "revokeKey", "revokeToken"})
CHANGING: Final = frozenset({"addUser", "changeUser", "addKey", "issueToken"})


def security_event(record: Record, emit: Emit) -> None:
    """Emit what the record says, if it is about credentials; those that went well are not told, like logins."""
    left_out = record.details.get("left_out", 0)
    count = left_out if isinstance(left_out, int) else 0
    if record.action == "audit.cut_off":
        emit(AuditCutOff())
    elif record.action == "login" and record.outcome != "ok":
        if record.status in (401, 429):
            emit(LoginFailed(record.outcome, count))
    elif record.status in (401, 403):
        emit(Refused(record.action, record.outcome, count))
    elif record.outcome != "ok":
        pass  # a mistake, or a store that was away: nothing was changed
    elif record.action in REVOKING:
        emit(Revoked(record.action))
    elif record.action in CHANGING:
        emit(IdentityChanged(record.action))
