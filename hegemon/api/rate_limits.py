"""How often a caller may ask: token buckets by address and by principal, and the headers that tell how many are left.

The buckets are pure: the time is an argument. Each node counts for itself, so a caller that asks N nodes has N times
the rate; a count shared over a store would cost every request a round trip, and fail with the store.
Header fields: RateLimit and RateLimit-Policy of the IETF draft (draft-ietf-httpapi-ratelimit-headers), Retry-After of
RFC 9110.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from hegemon.api.addresses import limit_key
from hegemon.api.call import Call
from hegemon.api.problems import ApiError
from hegemon.api.reply import Header
from hegemon.cluster.limit_settings import PER_ADDRESS, PER_PRINCIPAL, REFUSALS, LimitSettings, Rate

# What is remembered at most: at 100 bytes each a megabyte for each kind of bucket.
BUCKETS_MAX: Final = 10_000


class Buckets:
    """A token bucket for each key, all of one rate. At most `size_max`: the one that was used longest ago is forgotten,
    and is full if it comes again.

    A bucket is kept as the one moment at which it will be full again: nothing has to refill it, and whatever is not
    there is full.
    """

    __slots__ = ("_full_at", "_size_max", "_token_s", "rate", "window_s")

    def __init__(self, rate: Rate, size_max: int = BUCKETS_MAX) -> None:
        self.rate = rate
        self.window_s = rate.window_s
        self._token_s = 1.0 / rate.per_s
        self._size_max = size_max
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float, tokens: float = 1.0) -> float:
        """Take tokens. Returns the seconds until the bucket is full again. If that is more than `window_s`, there were
        not as many tokens: nothing was taken, and by the excess the caller came too early."""
        full_at = max(self._full_at.pop(key, now), now)
        after = full_at + tokens * self._token_s
        # The last token must not be lost to the rounding of clocks that count from the start of the machine.
        if after - now > self.window_s + 1e-6:
            self._full_at[key] = full_at
            return after - now
        self._full_at[key] = after
        if len(self._full_at) > self._size_max:
            del self._full_at[next(iter(self._full_at))]
        return min(after - now, self.window_s)

    def missing_s(self, key: str, now: float) -> float:
        """How long until there is a token; 0.0 if there is one."""
        return max(0.0, self._full_at.get(key, now) - now + self._token_s - self.window_s - 1e-6)

    def left(self, full_in_s: float) -> int:
        """How many whole tokens a bucket has that is full in so many seconds."""
        return max(0, int((self.window_s - full_in_s) * self.rate.per_s + 1e-3))


class Limit:
    """One of the limits that callers are told of: its buckets under a name, and what the headers say of one."""

    def __init__(self, name: str, rate: Rate, policy: bytes) -> None:
        self.name = name
        self.buckets = Buckets(rate)
        self._policy = (b"ratelimit-policy", policy)
        self._form = f'"{name}";r=%d;t=%d'.encode()

    def headers(self, full_in_s: float) -> tuple[Header, Header]:
        """RateLimit-Policy, and RateLimit for a bucket that is full in so many seconds: requests that are left, and
        the seconds until all of them are back, or until there is one again."""
        missing_s = full_in_s - self.buckets.window_s
        soon_s = missing_s if missing_s > 0.0 else full_in_s
        return self._policy, (b"ratelimit", self._form % (self.buckets.left(full_in_s), math.ceil(soon_s)))


class RateLimits:
    """The limits of one node's API. A rate that is None does not limit.

    `refusals` counts only credentials that were refused, by address: whoever guesses is stopped long before the limit
    for all requests. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        address: Rate | None,
        principal: Rate | None,
        refusals: Rate | None,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        rates = {name: rate for name, rate in (("address", address), ("principal", principal)) if rate is not None}
        policy = ", ".join(f'"{name}";q={rate.burst};w={math.ceil(rate.window_s)}' for name, rate in rates.items())
        limits = {name: Limit(name, rate, policy.encode()) for name, rate in rates.items()}
        self._addresses, self._principals = limits.get("address"), limits.get("principal")
        self._refusals = None if refusals is None else Buckets(refusals)

    def take_address(self, call: Call) -> None:
        """Count a request of `call.address`; ApiError rate_limited if there were too many."""
        if self._addresses is not None:
            self._take(call, self._addresses, limit_key(call.address))

    def take_principal(self, call: Call) -> None:
        """Count a request of `call.principal`; ApiError rate_limited if there were too many."""
        if self._principals is not None:
            self._take(call, self._principals, call.principal.id)

    def check_refusals(self, call: Call) -> None:
        """ApiError rate_limited if too many credentials from this address were refused lately."""
        if self._refusals is not None:
            wait_s = self._refusals.missing_s(limit_key(call.address), self._clock())
            if wait_s > 0.0:
                raise ApiError("rate_limited", "too many refused credentials from this address", retry_after_s=wait_s)

    def take_refusal(self, call: Call) -> None:
        """Count a credential that was refused."""
        if self._refusals is not None:
            self._refusals.take(limit_key(call.address), self._clock())

    def _take(self, call: Call, limit: Limit, key: str) -> None:
        full_in_s = limit.buckets.take(key, self._clock())
        # What is told is the last limit that was asked, which is the principal's own where there is one.
        call.limited = (limit, full_in_s)
        missing_s = full_in_s - limit.buckets.window_s
        if missing_s > 0.0:
            raise ApiError("rate_limited", f"too many requests of this {limit.name}", retry_after_s=missing_s)


def rate_limits(settings: LimitSettings, *, authenticated: bool, clock: Callable[[], float]) -> RateLimits | None:
    """The limits that the settings give; None if there is none. What is unset is limited only with authentication:
    without it, only programs of the node's own machine can call."""

    def chosen(given: Rate | None, default: Rate) -> Rate | None:
        if given is None:
            return default if authenticated else None
        return given or None

    address = chosen(settings.rate_limit_per_address, PER_ADDRESS)
    principal = chosen(settings.rate_limit_per_principal, PER_PRINCIPAL)
    refusals = chosen(settings.rate_limit_refusals, REFUSALS)
    if address is None and principal is None and refusals is None:
        return None
    return RateLimits(address=address, principal=principal, refusals=refusals, clock=clock)
