import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.queue.entries import STUB_BYTES, Body, decode_body, encode_body, entry_text, parse_entry, reencode_body
from hegemon.queue.sealing import Sealed
from tests.engine.parts import document

NAMES = st.from_regex(r"\A[A-Za-z0-9_.\-/]{1,100}\Z")
COUNTS = st.integers(min_value=0, max_value=2**53)


@given(NAMES, NAMES, st.integers(0, 10), COUNTS, st.integers(1, 2**31), st.booleans())
def test_an_entry_says_all_that_its_document_does(
    type_: str, queue: str, priority: int, seq: int, attempt: int, suspect: bool
) -> None:
    made = document(seq, type_=type_, queue=queue, priority=priority, attempt=attempt, more={"suspect": suspect})
    entry = parse_entry(entry_text(made))
    told = (entry.id, entry.type, entry.queue, entry.priority, entry.seq, entry.attempt, entry.suspect)
    assert told == (made["_id"], type_, queue, priority, seq, attempt, suspect)
    following = parse_entry(entry.again(seq=seq + 1))
    assert following.attempt == attempt + 1
    assert (following.id, following.type, following.queue, following.suspect) == (entry.id, type_, queue, False)


@given(
    st.integers(1, 2**31),
    st.binary(max_size=STUB_BYTES),
    st.none() | st.integers(0, 1000),
    st.lists(st.text(min_size=1, max_size=20), max_size=5),
    st.none() | st.just({"kind": "fixed"}),
)
def test_a_body_comes_back_as_it_went_in(
    attempt: int, payload: bytes, retries: int | None, tags: list[str], retry: dict[str, str] | None
) -> None:
    body = Body("t", payload, "q", 5, 1, 0, 0, retries, None, 1, None, retry, False, "me", tuple(tags))
    assert decode_body(reencode_body(attempt, body)) == (attempt, body)


@pytest.mark.parametrize(("size", "stays"), [(STUB_BYTES, True), (STUB_BYTES + 1, False)])
def test_only_a_payload_above_the_stub_size_stays_in_mongodb(size: int, stays: bool) -> None:
    payload = {"x": "y" * (size - len('{"x":""}'))}
    made = document(payload=payload)
    assert len(made["payload"]["data"]) == size
    _, body = decode_body(encode_body(made))
    assert (body.payload is not None) is stays
    assert body.with_payload(Sealed.of(made["payload"])).payload == made["payload"]["data"]


@pytest.mark.parametrize("text", ["", "a:b", "id:x:1:5::q:t", "id:1:1:5:q:t"])
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_entry(text)
