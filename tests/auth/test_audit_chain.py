"""The chain: whatever is altered, removed, swapped or cut off is found, by numbers alone and without a store."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.auth.audit_chain import (
    GENESIS,
    Entry,
    Head,
    Keys,
    Record,
    Verifier,
    beginning,
    chain,
    sealed,
)

KEYS = Keys([b"k" * 32])
NO_KEYS = Keys()
either = pytest.mark.parametrize("keys", [KEYS, NO_KEYS], ids=["keyed", "plain"])


def record(n: int, **fields: Any) -> Record:
    given: dict[str, Any] = {
        "at_ms": n,
        "node": "n1",
        "principal": f"user:u{n}",
        "action": "cancelJob",
        "outcome": "ok",
    }
    return Record(**(given | fields))


def log_of(count: int, keys: Keys = KEYS) -> tuple[list[Entry], Head]:
    return chain([record(n) for n in range(1, count + 1)], beginning(keys), keys)


def kinds(
    entries: list[Entry], head: Head | None, keys: Keys = KEYS, *, first: int = 1, prev: str = GENESIS
) -> set[str]:
    verifier = Verifier(first=first, prev=prev, keys=keys)
    for entry in entries:
        verifier.feed(entry)
    verifier.end(head)
    return {fault.kind for fault in verifier.faults}


@either
def test_an_untouched_log_has_no_fault(keys: Keys) -> None:
    assert kinds(*log_of(20, keys), keys) == set()
    assert kinds([], None, keys) == set()


@either
@pytest.mark.parametrize("field", [name for name in Entry.__struct_fields__ if name != "seq"])
def test_an_altered_field_is_found_whichever_it_is(keys: Keys, field: str) -> None:
    entries, head = log_of(5, keys)
    new: Any = {"at_ms": 9, "status": 500, "details": {"x": 1}}.get(field, "0" * 64)
    entries[2] = msgspec.structs.replace(entries[2], **{field: new})
    assert kinds(entries, head, keys)


@either
def test_a_removed_entry_is_found_and_named(keys: Keys) -> None:
    entries, _head = log_of(5, keys)
    del entries[1:3]
    verifier = Verifier(first=1, prev=GENESIS, keys=keys)
    for entry in entries:
        verifier.feed(entry)
    assert [(fault.seq, fault.kind, fault.says) for fault in verifier.faults] == [
        (2, "missing", "entries 2 to 3 are missing")
    ]


@either
def test_a_removed_first_entry_is_found(keys: Keys) -> None:
    entries, head = log_of(5, keys)
    assert kinds(entries[1:], head, keys) == {"missing"}


@either
@pytest.mark.parametrize("left", [0, 1, 4])
def test_an_end_that_was_cut_off_is_found(keys: Keys, left: int) -> None:
    entries, head = log_of(5, keys)
    assert "truncated" in kinds(entries[:left], head, keys)


@either
def test_a_removed_head_is_found(keys: Keys) -> None:
    assert kinds(log_of(3, keys)[0], None, keys) == {"head_missing"}


@either
def test_swapped_entries_are_found_also_when_they_are_renumbered(keys: Keys) -> None:
    entries, head = log_of(5, keys)
    one, two = entries[1], entries[2]
    entries[1] = msgspec.structs.replace(two, seq=2)
    entries[2] = msgspec.structs.replace(one, seq=3)
    assert {"unlinked", "altered"} <= kinds(entries, head, keys)


def test_who_has_no_key_cannot_make_entries_anew() -> None:
    entries, _head = log_of(5)
    forged, _ = chain([record(9), record(10)], Head(3, entries[2].hash, "", ""), NO_KEYS)
    assert "unkeyed" in kinds([*entries[:3], *forged], sealed(5, forged[-1].hash, NO_KEYS))


def test_who_has_no_key_cannot_make_the_whole_log_anew() -> None:
    assert kinds(*log_of(5, NO_KEYS), KEYS) == {"head_unkeyed"}


def test_who_has_no_key_cannot_cut_the_end_off_and_seal_a_head() -> None:
    entries, _ = log_of(5)
    assert "head_unkeyed" in kinds(entries[:3], sealed(3, entries[2].hash, NO_KEYS))
    assert "head_forged" in kinds(entries[:3], Head(3, entries[2].hash, KEYS.kid, "0" * 64))


def test_a_log_goes_on_under_a_key_that_came_later() -> None:
    plain, head = log_of(3, NO_KEYS)
    keyed, head = chain([record(4)], head, KEYS)
    assert kinds([*plain, *keyed], head) == set()
    plain[1] = msgspec.structs.replace(plain[1], principal="user:eve")
    assert kinds([*plain, *keyed], head) == {"altered"}


def test_a_log_goes_on_under_a_new_key_while_the_old_one_is_known() -> None:
    entries, head = log_of(3)
    both = Keys([b"n" * 32, b"k" * 32])
    more, head = chain([record(4)], head, both)
    assert kinds([*entries, *more], head, both) == set()
    assert kinds([*entries, *more], head, Keys([b"n" * 32])) == {"unknown_key"}


def test_a_log_that_starts_behind_a_checkpoint_is_whole() -> None:
    entries, head = log_of(5)
    assert kinds(entries[2:], head, first=3, prev=entries[1].hash) == set()
    assert kinds(entries[2:], head, first=3, prev=GENESIS) == {"unlinked"}


@given(
    count=st.integers(2, 12),
    at=st.integers(0, 11),
    field=st.sampled_from(["principal", "target", "outcome", "address", "action"]),
    value=st.text(max_size=10),
)
def test_no_change_of_a_text_goes_unseen(count: int, at: int, field: str, value: str) -> None:
    entries, head = log_of(count, NO_KEYS)
    at %= count
    if getattr(entries[at], field) == value:
        return
    entries[at] = msgspec.structs.replace(entries[at], **{field: value})
    assert kinds(entries, head, NO_KEYS) == {"altered"}
