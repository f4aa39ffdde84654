"""The decision whether to send again, without a network or a clock."""

import random
from typing import Any

import pytest

from hegemon.client import calls
from hegemon.client.calls import Call, Reply
from hegemon.client.retrying import PAUSE_S_MAX, Lost, Retrying

GET = calls.get("x")
SUBMIT = calls.submit("noop")
BATCH = calls.submit_batch([{"type": "noop"}])
CANCEL = calls.cancel("x")


def answer(status: int, code: str = "", **headers: str) -> Reply:
    body = f'{{"code": "{code}"}}'.encode() if code else b"<html>"
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def pause(call: Call[Any], outcome: Reply | Lost, limit_s: float = 5.0) -> float | None:
    return Retrying(call, limit_s=limit_s, now=0.0, rng=random.Random(1)).pause(outcome, 0.0)


@pytest.mark.parametrize(
    ("outcome", "repeated"),
    [
        (Lost("refused", sent=False), (True, True, True, True)),
        (Lost("reset", sent=True), (True, True, False, False)),
        (answer(429), (True, True, True, True)),
        (answer(503, "queue_full"), (True, True, True, True)),
        (answer(503, "overloaded"), (True, True, True, True)),
        (answer(503, "store_unavailable"), (True, True, False, False)),
        (answer(503, "outcome_unknown"), (True, True, False, False)),
        (answer(502), (True, True, False, False)),
        (answer(504), (True, True, False, False)),
        (answer(409, "idempotency_key_in_flight"), (False, True, False, False)),
        (answer(409, "job_state_conflict"), (False, False, False, False)),
        (answer(500, "internal_error"), (False, False, False, False)),
        (answer(422, "invalid_job"), (False, False, False, False)),
        (answer(404), (False, False, False, False)),
        (answer(201), (False, False, False, False)),
    ],
)
def test_what_is_sent_again(outcome: Reply | Lost, repeated: tuple[bool, ...]) -> None:
    assert tuple(pause(call, outcome) is not None for call in (GET, SUBMIT, BATCH, CANCEL)) == repeated


def test_pauses_grow_to_a_cap_and_stop_at_the_limit() -> None:
    retrying = Retrying(GET, limit_s=5.0, now=0.0, rng=random.Random(1))
    now, pauses = 0.0, []
    while (step := retrying.pause(answer(503), now)) is not None:
        pauses.append(step)
        now += step
    assert now <= 5.0
    assert 5 <= len(pauses) <= 20
    assert max(pauses) <= PAUSE_S_MAX
    assert pauses[0] < 0.1 < pauses[-1]


def test_retry_after_is_a_lower_bound_and_a_date_is_none() -> None:
    assert (pause(GET, answer(503, retry_after="3")) or 0) >= 3
    assert pause(GET, answer(503, retry_after="6")) is None
    assert (pause(GET, answer(503, retry_after="Wed, 21 Oct 2065 07:28:00 GMT")) or 9) < 1


def test_no_limit_means_no_second_try() -> None:
    assert pause(GET, answer(503), limit_s=0) is None


def test_a_try_that_may_have_been_carried_out_is_remembered() -> None:
    for outcome, uncertain in ((Lost("reset", sent=True), True), (Lost("refused", sent=False), False)):
        retrying = Retrying(SUBMIT, limit_s=5.0, now=0.0, rng=random.Random(1))
        retrying.pause(outcome, 0.0)
        retrying.pause(answer(503, "queue_full"), 0.1)
        assert retrying.uncertain is uncertain


def test_a_key_is_made_for_each_submission_that_has_none() -> None:
    keys = {calls.submit("noop").key for _ in range(100)}
    assert len(keys) == 100
    assert calls.submit("noop", None, {"idempotency_key": "mine"}).key == "mine"
