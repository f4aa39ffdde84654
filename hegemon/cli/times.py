"""Times as people read them: how long ago, in how long."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def span(seconds: float) -> str:
    """A length of time in its largest unit: 850 ms, 12 s, 3 min, 5 h, 9 d."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    size, unit = next(step for step in _STEPS if seconds >= step[0])
    return f"{int(seconds // size)} {unit}"


def relative(moment: datetime | None, now: datetime | None = None) -> str:
    """`3 s ago` or `in 2 min`; a moment that differs by less than a second is `now`, since clocks do."""
    if moment is None:
        return "-"
    away = (moment - (now or datetime.now(UTC))).total_seconds()
    if abs(away) < 1:
        return "now"
    return f"in {span(away)}" if away > 0 else f"{span(-away)} ago"


def parsed(text: object) -> datetime | None:
    """The moment in an RFC 3339 text of the API; None for anything else."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
