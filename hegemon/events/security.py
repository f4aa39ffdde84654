"""What happens around credentials. Who it was, and from where, stands in the audit log, which admins alone read."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from hegemon.events.kind import (
    ERROR,
    WARNING,
    DomainEvent,
    LeftOut,
    Operation,
    Severity,
)


class LoginFailed(DomainEvent, frozen=True):
    """A name or a password was wrong, or came too often."""

    kind: ClassVar[str] = "security.login_failed"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the node that was asked, with its audit log"
    outcome: Annotated[str, Meta(description="the problem's code")]
    left_out: LeftOut


class Refused(DomainEvent, frozen=True):
    """A credential was refused, or its role was."""

    kind: ClassVar[str] = "security.refused"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the node that was asked, with its audit log"
    action: Operation
    outcome: Annotated[str, Meta(description="the problem's code")]
    left_out: LeftOut


class Revoked(DomainEvent, frozen=True):
    """Somebody's session, key or token is void from now on, on all nodes within a second."""

    kind: ClassVar[str] = "security.revoked"
    by: ClassVar[str] = "the node that was asked, with its audit log"
    action: Operation


class IdentityChanged(DomainEvent, frozen=True):
    """A user, key or token was made, changed or removed."""

    kind: ClassVar[str] = "security.changed"
    by: ClassVar[str] = "the node that was asked, with its audit log"
    action: Operation


class AuditCutOff(DomainEvent, frozen=True):
    """The end of the audit log is missing: somebody removed it, or MongoDB lost it."""

    kind: ClassVar[str] = "security.audit_cut_off"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "the node that saw it"
