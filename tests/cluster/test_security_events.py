"""Which records of the audit log everybody hears of, and what of them."""

import msgspec
import pytest

from hegemon.api.app import OPERATIONS
from hegemon.api.auditing import STRICT_GROUPS
from hegemon.auth.audit_chain import Record
from hegemon.cluster.security_events import CHANGING, REVOKING, security_event
from hegemon.events.kind import DomainEvent
from hegemon.events.security import AuditCutOff, IdentityChanged, LoginFailed, Refused, Revoked


def heard(action: str, outcome: str = "ok", status: int = 200, **details: str | int | bool) -> list[DomainEvent]:
    told: list[DomainEvent] = []
    record = Record(
        at_ms=0,
        node="n1",
        principal="user:eve",
        address="192.0.2.7",
        action=action,
        target="user:ana",
        outcome=outcome,
        status=status,
        request_id="4711",
        details=details,
    )
    security_event(record, told.append)
    return told


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (heard("login", "invalid_credentials", 401, left_out=3), LoginFailed("invalid_credentials", 3)),
        (heard("login", "login_throttled", 429), LoginFailed("login_throttled", 0)),
        (heard("refresh", "unauthenticated", 401), Refused("refresh", "unauthenticated", 0)),
        (heard("listUsers", "forbidden", 403, left_out=1), Refused("listUsers", "forbidden", 1)),
        (heard("logout", status=204), Revoked("logout")),
        (heard("revokeKey", status=204), Revoked("revokeKey")),
        (heard("changeUser"), IdentityChanged("changeUser")),
        (heard("audit.cut_off", "failed", 0, head=3, was=7), AuditCutOff()),
    ],
)
def test_what_is_done_to_credentials_is_told(told: list[DomainEvent], wanted: DomainEvent) -> None:
    assert told == [wanted]


def test_nobodys_name_and_no_address_is_in_it() -> None:
    for told in (
        heard("login", "invalid_credentials", 401),
        heard("addUser"),
        heard("logout"),
        heard("getMe", "x", 403),
    ):
        text = msgspec.json.encode(told).decode()
        assert "eve" not in text
        assert "ana" not in text
        assert "192.0.2.7" not in text


def test_logins_that_went_well_and_what_failed_for_other_reasons_are_no_events() -> None:
    assert heard("login") == heard("refresh") == heard("cancelJob") == heard("addUser", "user_exists", 409) == []


def test_every_operation_around_identities_is_told_of_or_no_change() -> None:
    strict = {one.name for one in OPERATIONS if one.group in STRICT_GROUPS and one.method != "GET"}
    assert strict - {"login", "refresh"} == REVOKING | CHANGING
