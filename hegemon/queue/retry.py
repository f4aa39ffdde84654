"""Decides whether a failed job runs again and when: the policies, the rule that applies them, and the two errors by
which a handler overrules them. Pure: the caller brings the count of failures and the randomness.

What counts here is *failures*, the runs that ended in an error, not the attempt number: that one is a fence, and it
also grows when a worker was lost or Redis was rebuilt, which must not use up anybody's retries.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final, Literal, get_args

Kind = Literal["exponential", "fixed"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)

# A year. Far beyond any sense, and it keeps every due time inside what the stores represent exactly.
MAX_DELAY_MS: Final = 365 * 24 * 3600 * 1000
MAX_MULTIPLIER: Final = 1_000


class Reject(Exception):
    """Raised by a handler: this job cannot succeed, do not retry it. It fails at once, whatever retries are left."""


class RetryAfter(Exception):
    """Raised by a handler: run this job again no earlier than ``seconds`` from now.

    Honoured instead of the policy's delay, also beyond its maximum and without jitter; it still counts against
    ``max_retries``. ``seconds`` is a finite number from 0 to a year, else ValueError.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        if not _is_number(seconds) or not 0 <= seconds * 1000 <= MAX_DELAY_MS:
            raise ValueError(f"RetryAfter takes a number of seconds from 0 to a year, not {seconds!r}")
        # Both arguments go to the base class: pickle, as used by process pools, calls the class with them.
        super().__init__(seconds, message)
        self.seconds = seconds
        self.message = message

    @property
    def delay_ms(self) -> int:
        """Rounded up: never earlier than asked for."""
        return math.ceil(self.seconds * 1000)

    def __str__(self) -> str:
        return self.message or f"retry after {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait before the next run. Raises ValueError, with a sentence that names the field and the value.

    - ``kind``: ``exponential`` waits ``base_ms * multiplier ** (failures - 1)``, ``fixed`` always ``base_ms``.
    - ``base_ms``: the first delay, 0 to a year. ``max_ms``: no delay is longer, jitter included; at least ``base_ms``.
    - ``multiplier``: 1 to 1,000; without effect for ``fixed``.
    - ``jitter``: from 0 (none) to 1; spreads a delay uniformly over plus or minus this fraction of it, so that jobs
      that failed together do not come back together.
    """

    kind: Kind = "exponential"
    base_ms: int = 1_000
    max_ms: int = 300_000
    multiplier: float = 2.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        for name, value in (("base_ms", self.base_ms), ("max_ms", self.max_ms)):
            if not _is_whole(value) or not 0 <= value <= MAX_DELAY_MS:
                raise ValueError(f"{name} must be a whole number of milliseconds from 0 to a year, not {value!r}")
        if self.max_ms < self.base_ms:
            raise ValueError(f"max_ms must be at least base_ms ({self.base_ms}), not {self.max_ms}")
        if not _is_number(self.multiplier) or not 1 <= self.multiplier <= MAX_MULTIPLIER:
            raise ValueError(f"multiplier must be a number from 1 to {MAX_MULTIPLIER}, not {self.multiplier!r}")
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be a number from 0 to 1, not {self.jitter!r}")

    def delay_ms(self, failures: int, rng: random.Random) -> int:
        """Milliseconds to wait after the given number of failures (at least 1, else ValueError), from 0 to max_ms."""
        if failures < 1:
            raise ValueError(f"failures must be at least 1, not {failures}")
        delay = self._without_jitter(failures)
        spread = delay * self.jitter
        # The interval is cut at max_ms before the draw. Cutting the result would put half of all capped delays on
        # exactly max_ms, and the jobs that jitter should spread would come back together.
        return min(self.max_ms, max(0, round(rng.uniform(delay - spread, min(delay + spread, self.max_ms)))))

    def _without_jitter(self, failures: int) -> float:
        if self.kind == "fixed" or self.base_ms == 0:
            return float(self.base_ms)
        try:
            return min(float(self.max_ms), self.base_ms * float(self.multiplier) ** (failures - 1))
        except OverflowError:  # beyond any float, hence beyond the cap
            return float(self.max_ms)

    def to_dict(self) -> dict[str, str | int | float]:
        """Plain values, for a job's document. ``from_dict`` of it is equal to this policy."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object], default: RetryPolicy | None = None) -> RetryPolicy:
        """A policy from plain values. Fields left out come from ``default`` (a job's from its type's, a type's from
        the cluster's). Raises ValueError for a field that does not exist and for a value that is wrong."""
        known = [field.name for field in fields(cls)]
        for name in data:
            if name not in known:
                raise ValueError(f"a retry policy has no field {name!r}: the fields are {', '.join(known)}")
        values: dict[str, object] = {**asdict(default or cls()), **data}
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks the type of every field


@dataclass(frozen=True, slots=True)
class Retry:
    """Run it again, ``delay_ms`` from now."""

    delay_ms: int


GiveUpReason = Literal["rejected", "retries_exhausted"]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not run it again: the job is a dead letter. ``reason`` is stable, for programs; ``detail`` is a sentence."""

    reason: GiveUpReason
    detail: str


@dataclass(frozen=True, slots=True)
class RetryRule:
    """A policy with the number of retries that go with it: ``max_retries`` of 3 allows four runs, 0 allows one."""

    policy: RetryPolicy
    max_retries: int

    def __post_init__(self) -> None:
        if not _is_whole(self.max_retries) or self.max_retries < 0:
            raise ValueError(f"max_retries must be a whole number of at least 0, not {self.max_retries!r}")

    def decide(self, failures: int, error: BaseException, rng: random.Random) -> Retry | GiveUp:
        """What follows a failure. ``failures`` counts the one just seen (at least 1, else ValueError)."""
        if failures < 1:
            raise ValueError(f"failures must be at least 1, not {failures}")
        if isinstance(error, Reject):
            return GiveUp("rejected", f"the handler said not to retry: {str(error) or 'no reason given'}")
        if failures > self.max_retries:
            return GiveUp("retries_exhausted", f"failed {failures} times, with {self.max_retries} retries allowed")
        if isinstance(error, RetryAfter):
            return Retry(error.delay_ms)
        return Retry(self.policy.delay_ms(failures, rng))


def _is_whole(value: object) -> bool:
    """Whether it is an int and not a bool: JSON's true must not pass for 1."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """Whether it is an int or a finite float."""
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))
