"""Frames: what is sealed can be opened by whom it is for, and nothing else can be opened at all."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.cluster.frames import (
    DATAGRAM_FRAME_MAX,
    OVERHEAD,
    STREAM_FRAME_MAX,
    FrameRefused,
    Key,
    Keys,
    Kind,
    Sealer,
    open_frame,
    parse,
)
from hegemon.election.contract import DATAGRAM_MAX

KEYS = Keys.from_secrets("c", "a secret")
RECEIVER = os.urandom(16)


def opened(frame: bytes, keys: Keys = KEYS, most: int = DATAGRAM_FRAME_MAX) -> bytes:
    header = parse(frame, most=most)
    return open_frame(keys.cipher(header.key_name, header.sender), header, frame)


def refusal(frame: bytes, keys: Keys = KEYS) -> str:
    with pytest.raises(FrameRefused) as refused:
        opened(frame, keys)
    return refused.value.reason


def sealed(payload: bytes = b"payload", keys: Keys = KEYS) -> bytes:
    return Sealer(keys.sending, os.urandom(16)).seal(Kind.DATAGRAM, RECEIVER, payload)


@pytest.mark.parametrize("size", [0, 1, DATAGRAM_MAX])
def test_a_sealed_frame_opens_to_its_payload(size: int) -> None:
    assert opened(sealed(b"x" * size)) == b"x" * size


def test_the_header_is_as_documented_and_the_largest_datagram_fits() -> None:
    sealer = Sealer(KEYS.sending, os.urandom(16))
    sealer.seal(Kind.HELLO, RECEIVER, b"")
    frame = sealer.seal(Kind.STREAM, RECEIVER, b"abc")
    assert frame[:4] == b"HG\x01\x05"
    assert frame[4:8] == KEYS.sending.name
    assert (frame[8:24], frame[24:40]) == (sealer.boot, RECEIVER)
    assert int.from_bytes(frame[40:48], "big") == 2
    assert len(frame) == OVERHEAD + 3 == 64 + 3
    assert DATAGRAM_FRAME_MAX <= 1400


def test_nothing_of_a_payload_can_be_read_on_the_way() -> None:
    payload = b"a payload that anyone would know"
    assert payload not in sealed(payload)
    assert sealed(payload)[48:-16] != sealed(payload)[48:-16]


def test_any_bit_changed_anywhere_is_found() -> None:
    frame = sealed(b"x")
    for bit in range(len(frame) * 8):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        assert refusal(bytes(changed)) in {"forged", "garbage", "foreign_cluster"}


def test_a_frame_cut_short_or_grown_is_refused() -> None:
    frame = sealed(b"abc")
    assert {refusal(frame[:cut]) for cut in range(OVERHEAD)} == {"garbage"}
    assert {refusal(frame[:cut]) for cut in range(OVERHEAD, len(frame))} == {"forged"}
    assert refusal(frame + b"\0") == "forged"


def test_what_is_longer_than_its_cap_is_never_decrypted() -> None:
    with pytest.raises(FrameRefused, match="oversize"):
        parse(sealed(b"x" * (DATAGRAM_MAX + 1)), most=DATAGRAM_FRAME_MAX)
    with pytest.raises(FrameRefused, match="oversize"):
        parse(bytes(STREAM_FRAME_MAX + 1), most=STREAM_FRAME_MAX)


@pytest.mark.parametrize(
    "other", [("c", "another secret"), ("d", "a secret"), ("c", None), ("d", None), ("ca", " secret")]
)
def test_another_cluster_or_secret_is_told_apart_without_decryption(other: tuple[str, str | None]) -> None:
    assert refusal(sealed(keys=Keys.from_secrets(*other))) == "foreign_cluster"


def test_who_knows_the_public_parts_but_not_the_secret_can_only_forge() -> None:
    thief = Key(KEYS.sending.name, os.urandom(32))
    assert refusal(sealed(keys=Keys(thief))) == "forged"


def test_without_a_secret_the_cluster_id_alone_makes_the_key() -> None:
    assert opened(sealed(keys=Keys.from_secrets("c", None)), Keys.from_secrets("c", None)) == b"payload"
    assert refusal(sealed(keys=Keys.from_secrets("d", None)), Keys.from_secrets("c", None)) == "foreign_cluster"


def test_each_step_of_a_rotation_understands_its_neighbours() -> None:
    old, new = "old", "new"
    steps = [Keys.from_secrets("c", *pair) for pair in [(old, None), (old, new), (new, old), (new, None)]]
    for at, one in enumerate(steps):
        for beside, other in enumerate(steps):
            if abs(at - beside) <= 1:
                assert opened(sealed(keys=one), other) == b"payload"
    assert refusal(sealed(keys=steps[2]), steps[0]) == "foreign_cluster"
    assert refusal(sealed(keys=steps[0]), steps[3]) == "foreign_cluster"


def test_no_nonce_comes_twice_under_a_key_whoever_a_frame_is_for() -> None:
    sealer = Sealer(KEYS.sending, os.urandom(16))
    frames = [sealer.seal(kind, os.urandom(16), b"") for kind in Kind for _ in range(100)]
    assert len({frame[8:24] for frame in frames}) == 1  # one key
    assert len({frame[40:48] for frame in frames}) == len(frames)
    first = [Sealer(KEYS.sending, os.urandom(16)).seal(Kind.DATAGRAM, RECEIVER, b"the same") for _ in range(100)]
    assert len({frame[40:48] for frame in first}) == 1
    assert len({frame[48:-16] for frame in first}) == 100  # the same counter under other keys; tags differ anyway


def test_secrets_that_cannot_work_are_refused_and_none_is_ever_shown() -> None:
    for secret, other in [("", None), ("a", ""), (None, "b")]:
        with pytest.raises(ValueError, match="secret"):
            Keys.from_secrets("c", secret, other)
    with pytest.raises(ValueError, match="boot"):
        Sealer(KEYS.sending, bytes(16))
    assert "root" not in repr(KEYS)


@given(st.binary(max_size=1500), st.booleans())
def test_the_opener_raises_nothing_but_its_own_error(noise: bytes, dressed: bool) -> None:
    frame = b"HG\x01\x04" + KEYS.sending.name + noise if dressed else noise
    assert refusal(frame) in {"garbage", "oversize", "foreign_cluster", "forged"}


@given(st.data())
def test_a_real_frame_with_any_damage_is_refused(data: st.DataObject) -> None:
    frame = sealed(b"some payload")
    at = data.draw(st.integers(0, len(frame) - 1))
    damage = data.draw(st.binary(max_size=80))
    damaged = frame[:at] + damage + frame[at + len(damage) :]
    if damaged != frame:
        assert refusal(damaged) in {"garbage", "oversize", "foreign_cluster", "forged"}
