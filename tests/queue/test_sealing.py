"""Encryption of payloads and results: what opens, what does not, and that keys can be rotated."""

import asyncio
import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.queue.completions import Completion
from hegemon.queue.entries import STUB_BYTES, decode_body, encode_body, reencode_body
from hegemon.queue.errors import IdempotencyKeyReused
from hegemon.queue.jobs import from_document, new_document, same_body
from hegemon.queue.sealing import OVERHEAD, PLAIN, Part, Sealed, Sealer, SealingError, Unreadable
from tests.engine.parts import NOW_MS, ORIGIN, Index, Jobs, document, new_job
from tests.queue.test_submit import build, ended

ONE, TWO = (base64.b64encode(bytes(range(first, first + 32))).decode() for first in (0, 100))
OLD, NEW = Sealer.of(f"old:{ONE}"), Sealer.of(f"new:{TWO}")
BOTH = Sealer.of(f"new:{TWO},old:{ONE}")
PARTS: tuple[Part, ...] = ("payload", "result")


@given(st.text(max_size=40), st.sampled_from(PARTS), st.binary(max_size=300))
def test_what_was_sealed_opens_under_the_same_job_and_part_alone(job_id: str, part: Part, data: bytes) -> None:
    sealed = OLD.seal(job_id, part, data)
    assert OLD.open(job_id, part, sealed) == data
    assert len(sealed.data) == len(data) + OVERHEAD
    assert Sealed.of(sealed.stored()) == sealed
    other: Part = "result" if part == "payload" else "payload"
    for moved in ((job_id + "x", part), (job_id, other)):
        with pytest.raises(Unreadable):
            OLD.open(*moved, sealed)


@given(st.binary(max_size=60), st.data())
def test_no_changed_byte_goes_unnoticed(data: bytes, chosen: st.DataObject) -> None:
    sealed = OLD.seal("j", "payload", data)
    at = chosen.draw(st.integers(0, len(sealed.data) - 1))
    changed = bytearray(sealed.data)
    changed[at] ^= chosen.draw(st.integers(1, 255))
    with pytest.raises(Unreadable, match="changed"):
        OLD.open("j", "payload", Sealed(bytes(changed), "old"))


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 11, b"x" * 27])
def test_what_is_too_short_to_have_been_sealed_does_not_open(data: bytes) -> None:
    with pytest.raises(Unreadable):
        OLD.open("j", "payload", Sealed(data, "old"))


def test_the_same_data_never_look_the_same_twice() -> None:
    assert len({OLD.seal("j", "payload", b"{}").data for _ in range(100)}) == 100


def test_the_first_key_seals_and_all_of_them_open() -> None:
    before = OLD.seal("j", "payload", b"1")
    after = BOTH.seal("j", "payload", b"2")
    assert (before.kid, after.kid) == ("old", "new")
    assert [BOTH.open("j", "payload", sealed) for sealed in (before, after)] == [b"1", b"2"]
    assert NEW.open("j", "payload", after) == b"2"
    with pytest.raises(Unreadable, match="key 'old', which this node does not have"):
        NEW.open("j", "payload", before)
    # The ID is a name, not the key: another key under it opens nothing.
    with pytest.raises(Unreadable, match="another key"):
        Sealer.of(f"old:{TWO}").open("j", "payload", before)


def test_without_keys_all_is_plain_and_what_was_plain_is_read_with_keys() -> None:
    assert not PLAIN
    assert PLAIN.seal("j", "payload", b"1").stored() == {"enc": "json", "data": b"1"}
    assert BOTH.open("j", "payload", Sealed.of({"enc": "json", "data": b"1"})) == b"1"
    assert not Sealer.of(" ")


@pytest.mark.parametrize(
    "text",
    ["x", f"{ONE}", f":{ONE}", f"a b:{ONE}", "a:AAAA", f"a:{ONE}x", f"a:{ONE},", f"a:{ONE},b", f"a:{ONE}\n:"],
)
def test_keys_that_are_none_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SealingError, match="must be ID:KEY") as refused:
        Sealer.of(text)
    assert ONE not in str(refused.value)


def test_one_name_for_two_keys_and_keys_that_are_not_random_are_refused() -> None:
    with pytest.raises(SealingError, match="twice"):
        Sealer.of(f"a:{ONE},a:{TWO}")
    with pytest.raises(SealingError, match="no random one"):
        Sealer.of(f"a:{base64.b64encode(b'a' * 32).decode()}")
    assert ONE not in repr(OLD)


# ---- documents, bodies and results


def sealed_document(sealer: Sealer, payload: bytes = b'{"a":1}') -> dict[str, Any]:
    return document(payload=msgspec.json.decode(payload), sealer=sealer)


def test_a_document_reads_as_it_was_written_and_holds_nothing_of_it() -> None:
    made = sealed_document(OLD, b'{"canary":"c4n4ry"}')
    assert made["payload"]["enc"] == "aesgcm"
    assert b"c4n4ry" not in bytes(made["payload"]["data"])
    assert bytes(from_document(made, BOTH).payload) == b'{"canary":"c4n4ry"}'


def test_a_job_whose_key_is_gone_is_shown_with_the_reason_in_place_of_its_payload() -> None:
    job = from_document(sealed_document(OLD), NEW)
    assert "which this node does not have" in msgspec.json.decode(job.payload)["$unreadable"]
    assert job.status == "pending"


def test_a_body_travels_sealed_also_into_its_next_attempt() -> None:
    made = sealed_document(OLD, b'{"canary":"c4n4ry"}')
    _, body = decode_body(encode_body(made))
    _, again = decode_body(reencode_body(2, body))
    assert again == body
    assert again.payload is not None
    assert OLD.open(made["_id"], "payload", Sealed(again.payload, again.kid)) == b'{"canary":"c4n4ry"}'


def test_a_large_payload_stays_in_mongodb_and_comes_back_with_its_key() -> None:
    made = sealed_document(OLD, b'{"a":"%s"}' % (b"x" * STUB_BYTES))
    _, stub = decode_body(encode_body(made))
    assert stub.payload is None
    whole = stub.with_payload(Sealed.of(made["payload"]))
    assert whole.payload is not None
    assert OLD.open(made["_id"], "payload", Sealed(whole.payload, whole.kid)).startswith(b'{"a":"xxx')


async def test_sealed_results_are_recorded_each_with_its_own(jobs: Jobs) -> None:
    items = [document() for _ in range(9)]
    await jobs.put(*items)
    done = []
    for n, item in enumerate(items):
        # The same milliseconds, so that they would share a write if they were plain; every third has no result.
        sealed = None if n % 3 == 0 else OLD.seal(item["_id"], "result", b"42")
        done.append(Completion(item["_id"], 1, sealed, NOW_MS, NOW_MS))
    assert await jobs.store.complete(done, worker="w", node="n") == set()
    for n, item in enumerate(items):
        found = await jobs.get(item)
        result = from_document(found, OLD).result
        assert (found["status"], result) == ("completed", None if n % 3 == 0 else msgspec.Raw(b"42"))


# ---- idempotency keys


def accepted(sealer: Sealer, **body: Any) -> dict[str, Any]:
    job = new_job(**body)
    made = new_document(
        job,
        job_id="j",
        seq=1,
        now_ms=NOW_MS,
        origin=ORIGIN,
        cluster_id="c",
        idempotency_key="k",
        sealer=sealer,
    )
    idempotency: dict[str, Any] = made["idempotency"]
    return idempotency


def test_a_digest_can_be_compared_over_a_rotation_but_not_guessed_at() -> None:
    plain, old = accepted(PLAIN, payload={"a": 1}), accepted(OLD, payload={"a": 1})
    assert plain["digest"] != old["digest"] != accepted(NEW, payload={"a": 1})["digest"]
    same, other = new_job(payload={"a": 1}), new_job(payload={"a": 2})
    for stored in (plain, old):
        assert same_body(same, stored, BOTH)
        assert not same_body(other, stored, BOTH)
    assert not same_body(same, old, NEW)  # its key is gone: it cannot be known to be the same


async def test_a_key_is_replayed_after_a_rotation_and_refused_for_another_body(jobs: Jobs, index: Index) -> None:
    first = build(jobs, index, sealer=OLD)
    task = asyncio.create_task(first.run())
    job_id, created, _ = await first.submit(new_job(payload={"a": 1}), scope="me", idempotency_key="k")
    await ended([task])
    rotated = build(jobs, index, sealer=BOTH)
    task = asyncio.create_task(rotated.run())
    again = await rotated.submit(new_job(payload={"a": 1}), scope="me", idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        await rotated.submit(new_job(payload={"a": 2}), scope="me", idempotency_key="k")
    await ended([task])
    assert (created, again[:2]) == (True, (job_id, False))
    found = await jobs.queries.get(job_id)
    assert found is not None
    assert found["payload"]["kid"] == "old"
