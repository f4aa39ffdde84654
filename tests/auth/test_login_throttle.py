import pytest
from hypothesis import given
from hypothesis import strategies as st

from hegemon.auth.errors import LoginThrottled
from hegemon.auth.login_throttle import ADDRESS, FORGOTTEN_AFTER_S, NAME, PAIR, LoginThrottle

HOME, AWAY = "198.51.100.1", "203.0.113.9"


class Clock:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


def wait_of(throttle: LoginThrottle, name: str = "ana", address: str = HOME) -> float:
    """Attempt; 0.0 if it was let through."""
    try:
        throttle.attempt(name, address)
    except LoginThrottled as error:
        return error.retry_after_s or 0.0
    return 0.0


def test_the_first_failures_are_free_and_each_one_after_them_waits_twice_as_long() -> None:
    clock = Clock()
    throttle = LoginThrottle(clock)
    assert [wait_of(throttle) for _ in range(PAIR.free)] == [0.0] * PAIR.free
    for wait_s in (1.0, 2.0, 4.0, 8.0):
        assert wait_of(throttle) == pytest.approx(wait_s)
        clock.now += wait_s
        assert wait_of(throttle) == 0.0
    assert PAIR.wait_s(1000) == PAIR.longest_s


def test_an_attempt_that_comes_too_early_counts_for_nothing() -> None:
    clock = Clock()
    throttle = LoginThrottle(clock)
    for _ in range(PAIR.free):
        wait_of(throttle)
    for _ in range(100):
        assert wait_of(throttle) == pytest.approx(1.0)


def test_a_success_forgives_this_name_from_this_address() -> None:
    throttle = LoginThrottle(Clock())
    for _ in range(PAIR.free):
        wait_of(throttle)
    throttle.succeeded("ana", HOME)
    assert wait_of(throttle) == 0.0


def test_a_guesser_with_an_account_of_his_own_does_not_wash_himself_clean() -> None:
    throttle = LoginThrottle(Clock())
    for number in range(ADDRESS.free):
        assert wait_of(throttle, f"victim {number}") == 0.0
        throttle.attempt("mallory", AWAY)
        throttle.succeeded("mallory", AWAY)
    assert wait_of(throttle, "one more") > 0.0
    throttle.succeeded("mallory", HOME)
    assert sum(wait_of(throttle, f"another {number}") == 0.0 for number in range(5)) <= 1


def test_a_thousand_attempts_at_once_are_a_thousand_attempts() -> None:
    throttle = LoginThrottle(Clock())
    assert sum(wait_of(throttle) == 0.0 for _ in range(1000)) == PAIR.free


def test_many_addresses_slow_an_accounts_owner_down_and_never_lock_him_out() -> None:
    clock = Clock()
    throttle = LoginThrottle(clock)
    for number in range(1000):
        wait_of(throttle, address=f"203.0.113.{number}")
        clock.now += 0.01
    assert 0.0 < wait_of(throttle, address=HOME) <= NAME.longest_s


def test_an_attempt_that_nobody_could_check_is_no_failure() -> None:
    throttle = LoginThrottle(Clock())
    for _ in range(100):
        assert wait_of(throttle) == 0.0
        throttle.unchecked("ana", HOME)
    for _ in range(PAIR.free):
        assert wait_of(throttle) == 0.0
    assert wait_of(throttle) > 0.0


def test_others_are_not_slowed_down() -> None:
    throttle = LoginThrottle(Clock())
    for _ in range(PAIR.free + 1):
        wait_of(throttle)
    assert wait_of(throttle, "bo", AWAY) == 0.0
    assert wait_of(throttle, "ana", AWAY) == 0.0


def test_failures_are_forgotten_after_an_hour() -> None:
    clock = Clock()
    throttle = LoginThrottle(clock)
    for _ in range(PAIR.free):
        wait_of(throttle)
    clock.now += FORGOTTEN_AFTER_S
    assert [wait_of(throttle) for _ in range(PAIR.free)] == [0.0] * PAIR.free


def test_what_is_remembered_is_bounded() -> None:
    throttle = LoginThrottle(Clock(), size_max=50)
    for number in range(1000):
        wait_of(throttle, f"name {number}", f"address {number}")
    assert len(throttle._pairs) == len(throttle._addresses) == len(throttle._names) == 50


@given(st.lists(st.tuples(st.sampled_from(["ana", "bo", "a" * 10_000, "\ud800", ""]), st.floats(0, 60)), max_size=40))
def test_from_one_address_no_sequence_of_failures_gets_more_tries_than_the_waits_allow(
    attempts: list[tuple[str, float]],
) -> None:
    clock = Clock()
    throttle, started, passed = LoginThrottle(clock), clock.now, 0
    for name, pause in attempts:
        clock.now += pause
        passed += wait_of(throttle, name) == 0.0
    spent, beyond = clock.now - started, 0.0
    for failures in range(ADDRESS.free, passed):
        beyond += ADDRESS.wait_s(failures)
    assert beyond <= spent + 0.001
