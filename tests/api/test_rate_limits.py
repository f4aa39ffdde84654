from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.api.call import Call
from hegemon.api.problems import ApiError, reply_to
from hegemon.api.rate_limits import Buckets, RateLimits, rate_limits
from hegemon.auth.roles import Principal, Role
from hegemon.cluster.limit_settings import LimitSettings, Rate

TEN = Rate(10, "s", 10)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def call_of(address: str = "198.51.100.1", name: str = "user:ana") -> Call:
    scope: dict[str, Any] = {"headers": [], "method": "GET", "path": "/"}
    call = Call(scope, None, 1000)
    call.address, call.principal = address, Principal(name, Role.USER)
    return call


def refused(limit: Callable[[Call], None], call: Call) -> ApiError:
    with pytest.raises(ApiError) as error:
        limit(call)
    assert error.value.code == "rate_limited"
    return error.value


def test_a_burst_is_taken_at_once_and_then_one_for_each_token_that_came() -> None:
    buckets = Buckets(Rate(10, "s", 5))
    assert all(buckets.take("a", 0.0) <= buckets.window_s for _ in range(5))
    assert buckets.take("a", 0.0) > buckets.window_s
    assert buckets.take("a", 0.1) <= buckets.window_s
    assert buckets.take("a", 0.1) > buckets.window_s
    assert all(buckets.take("a", 100.0) <= buckets.window_s for _ in range(5))
    assert buckets.take("a", 100.0) > buckets.window_s


def test_a_refusal_takes_nothing() -> None:
    buckets = Buckets(Rate(1, "s", 1))
    buckets.take("a", 0.0)
    for tenth in range(1, 10):
        assert buckets.take("a", tenth / 10) > buckets.window_s
    assert buckets.take("a", 1.0) <= buckets.window_s


def test_keys_do_not_share_their_tokens() -> None:
    buckets = Buckets(Rate(1, "s", 1))
    assert buckets.take("a", 0.0) <= buckets.window_s
    assert buckets.take("b", 0.0) <= buckets.window_s


def test_what_is_remembered_is_bounded_and_the_busiest_stay() -> None:
    buckets = Buckets(Rate(1, "s", 1), size_max=100)
    for number in range(10_000):
        buckets.take("busy", 0.0)
        buckets.take(f"passer-by {number}", 0.0)
    assert len(buckets) == 100
    assert buckets.take("busy", 0.0) > buckets.window_s


def test_a_clock_that_falls_back_gives_nobody_more() -> None:
    buckets = Buckets(Rate(1, "s", 2))
    buckets.take("a", 100.0)
    buckets.take("a", 100.0)
    assert buckets.take("a", 50.0) > buckets.window_s


@given(
    count=st.integers(1, 1000),
    unit=st.sampled_from("smh"),
    burst=st.integers(1, 1000),
    pauses=st.lists(st.floats(0, 10), max_size=200),
)
def test_no_window_ever_lets_more_through_than_its_burst_and_its_rate(
    count: int, unit: str, burst: int, pauses: list[float]
) -> None:
    rate = Rate(count, unit, burst)
    buckets, now, passed = Buckets(rate), 0.0, []
    for pause in pauses:
        now += pause
        if buckets.take("a", now) <= buckets.window_s:
            passed.append(now)
    for i, start in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= rate.burst + (passed[j] - start) * rate.per_s + 0.01


@given(burst=st.integers(1, 50), taken=st.integers(0, 60))
def test_what_is_said_to_be_left_is_what_can_be_taken(burst: int, taken: int) -> None:
    buckets = Buckets(Rate(7, "m", burst))
    full_in_s = 0.0
    for _ in range(taken):
        full_in_s = buckets.take("a", 5.0)
    left = buckets.left(full_in_s)
    assert left == max(0, burst - taken)
    assert (buckets.missing_s("a", 5.0) == 0.0) == (left > 0)


def test_an_address_beyond_its_rate_is_told_when_to_come_again() -> None:
    clock = Clock()
    limits = RateLimits(address=Rate(10, "m", 2), principal=None, refusals=None, clock=clock)
    for left in (1, 0):
        call = call_of()
        limits.take_address(call)
        assert call.limited is not None
        assert dict(call.limited[0].headers(call.limited[1]))[b"ratelimit"].startswith(b'"address";r=%d;t=' % left)
    call = call_of()
    error = refused(limits.take_address, call)
    assert dict(reply_to(error, "x").headers)[b"retry-after"] == b"6"
    assert call.limited is not None
    assert dict(call.limited[0].headers(call.limited[1])) == {
        b"ratelimit-policy": b'"address";q=2;w=12',
        b"ratelimit": b'"address";r=0;t=6',
    }
    clock.now += 6.0
    limits.take_address(call_of())
    refused(limits.take_address, call_of())
    limits.take_address(call_of(address="198.51.100.2"))


def test_a_principal_is_one_wherever_it_calls_from() -> None:
    limits = RateLimits(address=None, principal=Rate(1, "s", 2), refusals=None, clock=Clock())
    limits.take_principal(call_of("198.51.100.1"))
    limits.take_principal(call_of("198.51.100.2"))
    refused(limits.take_principal, call_of("198.51.100.3"))
    another = call_of("198.51.100.3", name="user:bo")
    limits.take_principal(another)
    assert another.limited is not None
    assert b";r=1;" in dict(another.limited[0].headers(another.limited[1]))[b"ratelimit"]


def test_an_ipv6_site_is_one_address() -> None:
    limits = RateLimits(address=Rate(1, "s", 1), principal=None, refusals=None, clock=Clock())
    limits.take_address(call_of("2001:db8::1"))
    neighbour = call_of("2001:db8::2")
    refused(limits.take_address, neighbour)
    assert neighbour.limited is not None
    assert b";r=0;" in dict(neighbour.limited[0].headers(neighbour.limited[1]))[b"ratelimit"]


def test_both_limits_are_named_in_the_policy_and_the_principals_own_is_told() -> None:
    limits = RateLimits(address=TEN, principal=Rate(5, "s", 20), refusals=None, clock=Clock())
    call = call_of()
    limits.take_address(call)
    limits.take_principal(call)
    assert call.limited is not None
    headers = dict(call.limited[0].headers(call.limited[1]))
    assert headers[b"ratelimit-policy"] == b'"address";q=10;w=1, "principal";q=20;w=4'
    assert headers[b"ratelimit"] == b'"principal";r=19;t=1'


def test_refused_credentials_stop_further_unknown_ones_until_time_has_passed() -> None:
    clock = Clock()
    limits = RateLimits(address=None, principal=None, refusals=Rate(1, "s", 3), clock=clock)
    for _ in range(3):
        limits.check_refusals(call_of())
        limits.take_refusal(call_of())
    refused(limits.check_refusals, call_of())
    limits.check_refusals(call_of(address="198.51.100.2"))
    clock.now += 1.0
    limits.check_refusals(call_of())


def test_unset_limits_hold_only_with_authentication_and_0_is_none() -> None:
    clock = Clock()
    assert rate_limits(LimitSettings(), authenticated=False, clock=clock) is None
    assert rate_limits(LimitSettings(), authenticated=True, clock=clock) is not None
    off = Rate(0, "s", 0)
    nothing = LimitSettings(rate_limit_per_address=off, rate_limit_per_principal=off, rate_limit_refusals=off)
    assert rate_limits(nothing, authenticated=True, clock=clock) is None
    some = rate_limits(LimitSettings(rate_limit_per_address=Rate(1, "s", 1)), authenticated=False, clock=clock)
    assert some is not None
    some.take_address(call_of())
    refused(some.take_address, call_of())
