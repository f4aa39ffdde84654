"""The table of domain events: documented, plain, without secrets, and each kind told by somebody."""

import re
from pathlib import Path

import msgspec
import pytest

from hegemon.auth.masking import is_secret
from hegemon.events import cluster, jobs, security
from hegemon.events.kind import DomainEvent, Severity
from hegemon.events.table import KINDS, about_jobs
from hegemon.monitoring.event_page import events_page, fields_of

ROOT = Path(__file__).resolve().parents[2]
# What people would put where a handler's or a caller's own words are.
WORDS = {"message", "payload", "result", "password", "token", "address", "principal", "traceback"}


def test_the_page_of_events_is_written_from_the_table() -> None:
    written = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert written == events_page(), "python -m hegemon.monitoring.event_page docs/events.md"


def test_every_kind_that_is_defined_is_in_the_table() -> None:
    defined = {
        value
        for module in (cluster, jobs, security)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, DomainEvent) and value is not DomainEvent
    }
    assert defined == set(KINDS.values())
    assert len(KINDS) == len(defined)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_a_kind_says_what_it_is_and_its_fields_are_plain_and_explained(kind: type[DomainEvent]) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", kind.kind)
    assert kind.severity in Severity
    assert kind.by
    assert (kind.__doc__ or "").strip().endswith((".", "."))
    for name, (type_, meaning) in fields_of(kind).items():
        assert type_
        assert meaning
        assert not is_secret(name)
        assert name not in WORDS


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_a_kind_is_told_by_a_part_of_the_product(kind: type[DomainEvent]) -> None:
    sources = [path for path in (ROOT / "hegemon").rglob("*.py") if path.parent.name != "events"]
    told = re.compile(rf"\b{kind.__name__}\b.*\(")
    assert any(told.search(path.read_text(encoding="utf-8")) for path in sources)


def test_an_event_cannot_be_changed_once_it_is_told() -> None:
    event = cluster.OfficeVacated(7)
    with pytest.raises(AttributeError):
        event.epoch = 8  # type: ignore[misc] # that is what is tried
    assert msgspec.to_builtins(event) == {"epoch": 7}


def test_what_is_about_jobs_is_told_apart_from_what_is_about_the_cluster() -> None:
    assert {name.partition(".")[0] for name in KINDS if about_jobs(name)} == {"job", "jobs"}
