"""Durations and sizes as people write them (`1m30s`, `16MiB`), read and written back without loss.

Standard library only, so that a worker process can use it without loading pydantic.
"""

import re
from datetime import timedelta
from fractions import Fraction

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_UNITS_US = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
# Each unit at most once, the largest first. `m` must not swallow the first letter of `ms`.
_DURATION = re.compile("".join(rf"(?:({_NUMBER}){unit}(?![a-z]))?" for unit in _UNITS_US))
_BARE_NUMBER = re.compile(rf"[+-]?{_NUMBER}")

_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}
_BYTES_BY_LOWER_NAME = {unit.lower(): factor for unit, factor in _BYTES.items()}
_SIZE = re.compile(r"([0-9]{1,18}) ?([A-Za-z]*)")


def parse_duration(text: str) -> timedelta:
    """Read `10s`, `1m30s`, `500ms`, `2h`, `7d`, `1.5s` or a bare `0`; units d, h, m, s, ms, us, the largest first.

    Raises ValueError, with a sentence that says what would be right, for anything else: a number without a unit, a
    negative one, one finer than a microsecond or longer than a timedelta holds.
    """
    text = text.strip()
    if text == "0":
        return timedelta(0)
    if _BARE_NUMBER.fullmatch(text):
        number = text.lstrip("+-")
        raise ValueError(
            f"must have a unit: write {number}s for seconds, {number}ms for milliseconds, {number}m for minutes"
        )
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError("must be a duration such as 500ms, 10s, 1m30s, 2h or 7d (the largest unit first)")
    parts = zip(match.groups(), _UNITS_US.values(), strict=True)
    microseconds = sum((Fraction(number) * unit_us for number, unit_us in parts if number), Fraction(0))
    if microseconds.denominator != 1:
        raise ValueError("must be a whole number of microseconds (1us is the finest step)")
    try:
        return timedelta(microseconds=int(microseconds))
    except OverflowError:
        raise ValueError("must be a duration of at most 999999999d") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration of zero or more so that `parse_duration` gives the same one back: `1m30s`, `7d`, `0`."""
    rest_us = duration // timedelta(microseconds=1)
    if rest_us < 0:
        raise ValueError("a duration to write must not be negative")
    parts = []
    for unit, unit_us in _UNITS_US.items():
        count, rest_us = divmod(rest_us, unit_us)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0"


def parse_size(text: str) -> int:
    """Read a number of bytes: `16kB` (1000s), `2MiB` (1024s), `512B` or a plain `4096`; the case does not matter.

    Raises ValueError with a sentence that says what would be right.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _BYTES_BY_LOWER_NAME.get((match[2] or "B").lower()) if match else None
    if match is None or factor is None:
        raise ValueError("must be a size such as 16kB, 1MB, 2MiB or a plain number of bytes")
    return int(match[1]) * factor


def format_size(size: int) -> str:
    """Write a number of bytes with the largest unit that divides it, so that `parse_size` gives the same back."""
    for unit, factor in _BYTES.items():
        if factor > 1 and size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
