"""When a failed job runs again: delays grow as configured, stay in their bounds, and handlers can overrule them."""

from __future__ import annotations

import json
import pickle
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.queue.retry import (
    MAX_DELAY_MS,
    MAX_MULTIPLIER,
    GiveUp,
    Reject,
    Retry,
    RetryAfter,
    RetryPolicy,
    RetryRule,
)


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    base_ms = draw(st.integers(0, MAX_DELAY_MS))
    return RetryPolicy(
        kind=draw(st.sampled_from(["exponential", "fixed"])),
        base_ms=base_ms,
        max_ms=draw(st.integers(base_ms, MAX_DELAY_MS)),
        multiplier=draw(st.floats(1, MAX_MULTIPLIER) | st.integers(1, MAX_MULTIPLIER)),
        jitter=draw(st.floats(0, 1)),
    )


seeds = st.integers(0, 2**32)


def rng() -> random.Random:
    return random.Random(7)


# --- delays ---


def test_an_exponential_delay_multiplies_with_each_failure_up_to_the_maximum() -> None:
    policy = RetryPolicy(base_ms=100, max_ms=2_000, multiplier=3, jitter=0)
    assert [policy.delay_ms(n, rng()) for n in range(1, 6)] == [100, 300, 900, 2_000, 2_000]


def test_a_fixed_delay_does_not_grow() -> None:
    policy = RetryPolicy(kind="fixed", base_ms=250, jitter=0)
    assert [policy.delay_ms(n, rng()) for n in (1, 2, 50)] == [250, 250, 250]


@pytest.mark.parametrize("failures", [10_000, 10**9])
def test_very_many_failures_wait_the_maximum_and_do_not_overflow(failures: int) -> None:
    assert RetryPolicy(max_ms=60_000, jitter=0).delay_ms(failures, rng()) == 60_000
    assert RetryPolicy(base_ms=0, max_ms=60_000).delay_ms(failures, rng()) == 0


def test_jitter_spreads_delays_evenly_over_its_whole_range() -> None:
    policy = RetryPolicy(kind="fixed", base_ms=1_000, jitter=0.2)
    source = rng()
    delays = [policy.delay_ms(1, source) for _ in range(10_000)]
    assert 800 <= min(delays) < 805
    assert 1_195 < max(delays) <= 1_200
    fifths = [sum(low <= delay < low + 80 for delay in delays) for low in range(800, 1_200, 80)]
    assert all(abs(count - 2_000) < 5 * 40 for count in fifths)  # 5 sigma of a binomial(10,000, 1/5)


def test_jobs_at_the_maximum_do_not_come_back_all_at_the_same_moment() -> None:
    policy = RetryPolicy(base_ms=1_000, max_ms=10_000, jitter=0.5)
    source = rng()
    delays = [policy.delay_ms(30, source) for _ in range(1_000)]
    assert max(delays) <= 10_000
    assert min(delays) >= 5_000
    assert sum(delay == 10_000 for delay in delays) < 10


@given(policies(), st.integers(1, 20_000), seeds)
def test_a_delay_stays_within_jitter_of_its_nominal_value_and_never_beyond_the_maximum(
    policy: RetryPolicy, failures: int, seed: int
) -> None:
    delay = policy.delay_ms(failures, random.Random(seed))
    nominal = RetryPolicy.from_dict({"jitter": 0}, policy).delay_ms(failures, random.Random(seed))
    assert isinstance(delay, int)
    assert 0 <= delay <= policy.max_ms
    assert nominal * (1 - policy.jitter) - 1 <= delay <= nominal * (1 + policy.jitter) + 1


@given(policies(), st.integers(1, 2_000))
def test_without_jitter_a_delay_never_falls_as_failures_grow(policy: RetryPolicy, failures: int) -> None:
    steady = RetryPolicy.from_dict({"jitter": 0}, policy)
    assert steady.delay_ms(failures, rng()) <= steady.delay_ms(failures + 1, rng())


@given(policies(), st.integers(1, 100), seeds)
def test_the_same_randomness_gives_the_same_delay(policy: RetryPolicy, failures: int, seed: int) -> None:
    assert policy.delay_ms(failures, random.Random(seed)) == policy.delay_ms(failures, random.Random(seed))


@pytest.mark.parametrize("failures", [0, -1])
def test_a_delay_before_the_first_failure_is_refused(failures: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, not {failures}"):
        RetryPolicy().delay_ms(failures, rng())


# --- values and documents ---

WRONG: list[dict[str, Any]] = [
    {"kind": "linear"},
    {"kind": None},
    {"kind": ["fixed"]},
    {"base_ms": -1},
    {"base_ms": 1.5},
    {"base_ms": True},
    {"base_ms": "100"},
    {"max_ms": MAX_DELAY_MS + 1},
    {"max_ms": 999},  # below the default base_ms
    {"multiplier": 0.99},
    {"multiplier": MAX_MULTIPLIER + 1},
    {"multiplier": 10**400},
    {"multiplier": float("nan")},
    {"multiplier": True},
    {"jitter": -0.1},
    {"jitter": 1.1},
    {"jitter": float("inf")},
    {"jitter": "0.1"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong)[:40])
def test_a_wrong_value_is_refused_with_its_name_and_value(wrong: dict[str, Any]) -> None:
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=f"^{name} must be") as made:
        RetryPolicy(**wrong)
    with pytest.raises(ValueError, match=f"^{name} must be") as read:
        RetryPolicy.from_dict(wrong)
    assert f"not {value!r}" in str(made.value) == str(read.value)


def test_an_unknown_field_is_refused_and_the_fields_are_named() -> None:
    with pytest.raises(ValueError, match="no field 'base': the fields are kind, base_ms, max_ms, multiplier, jitter"):
        RetryPolicy.from_dict({"base": 100})


@given(policies())
def test_a_policy_survives_a_json_document(policy: RetryPolicy) -> None:
    assert RetryPolicy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy


@given(policies(), st.floats(0, 1))
def test_fields_left_out_come_from_the_default(default: RetryPolicy, jitter: float) -> None:
    assert RetryPolicy.from_dict({}, default) == default
    assert RetryPolicy.from_dict({"jitter": jitter}, default).to_dict() == {**default.to_dict(), "jitter": jitter}


# --- the rule ---


@given(policies(), st.integers(0, 50), seeds)
def test_a_job_that_always_fails_runs_once_and_then_once_for_each_retry(
    policy: RetryPolicy, max_retries: int, seed: int
) -> None:
    rule, source = RetryRule(policy, max_retries), random.Random(seed)
    runs = 1
    while isinstance(decision := rule.decide(runs, OSError("down"), source), Retry):
        assert 0 <= decision.delay_ms <= policy.max_ms
        runs += 1
    assert runs == max_retries + 1
    detail = f"failed {runs} times, with {max_retries} retries allowed"
    assert decision == GiveUp("retries_exhausted", detail)


def test_a_rejected_job_is_given_up_though_retries_are_left() -> None:
    rule = RetryRule(RetryPolicy(), 5)
    assert rule.decide(1, Reject("no such mailbox"), rng()) == GiveUp(
        "rejected", "the handler said not to retry: no such mailbox"
    )
    assert rule.decide(9, Reject(), rng()) == GiveUp("rejected", "the handler said not to retry: no reason given")


def test_a_subclass_of_reject_rejects() -> None:
    class NoSuchMailbox(Reject): ...

    assert isinstance(RetryRule(RetryPolicy(), 5).decide(1, NoSuchMailbox(), rng()), GiveUp)


def test_retry_after_replaces_the_delay_of_the_policy_also_beyond_its_maximum() -> None:
    rule = RetryRule(RetryPolicy(base_ms=10, max_ms=1_000, jitter=1), 3)
    assert rule.decide(1, RetryAfter(120), rng()) == Retry(120_000)
    assert rule.decide(1, RetryAfter(0), rng()) == Retry(0)


def test_retry_after_counts_against_the_retries() -> None:
    rule = RetryRule(RetryPolicy(), 2)
    assert rule.decide(2, RetryAfter(1), rng()) == Retry(1_000)
    assert rule.decide(3, RetryAfter(1), rng()) == GiveUp("retries_exhausted", "failed 3 times, with 2 retries allowed")


@given(st.floats(0, MAX_DELAY_MS / 1000))
def test_retry_after_is_never_earlier_than_asked_for_nor_more_than_a_millisecond_late(seconds: float) -> None:
    delay_ms = RetryAfter(seconds).delay_ms
    assert seconds * 1000 <= delay_ms <= seconds * 1000 + 1


@pytest.mark.parametrize("seconds", [-1, MAX_DELAY_MS, 10**400, float("nan"), float("inf"), True, "60", None])
def test_retry_after_refuses_what_is_no_time(seconds: Any) -> None:
    with pytest.raises(ValueError, match="from 0 to a year") as refused:
        RetryAfter(seconds)
    assert repr(seconds) in str(refused.value)


def test_retry_after_says_why_and_survives_a_process_border() -> None:
    error = pickle.loads(pickle.dumps(RetryAfter(1.5, "mailbox busy")))  # noqa: S301 - our own bytes
    assert (error.seconds, error.message, str(error)) == (1.5, "mailbox busy", "mailbox busy")
    assert str(RetryAfter(90)) == "retry after 90 s"


@pytest.mark.parametrize("max_retries", [-1, 1.5, True, None])
def test_a_wrong_number_of_retries_is_refused(max_retries: Any) -> None:
    with pytest.raises(ValueError, match=f"max_retries must be .* not {max_retries!r}"):
        RetryRule(RetryPolicy(), max_retries)


def test_a_decision_before_the_first_failure_is_refused() -> None:
    with pytest.raises(ValueError, match="failures must be at least 1, not 0"):
        RetryRule(RetryPolicy(), 1).decide(0, OSError(), rng())
