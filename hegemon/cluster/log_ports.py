"""What a node offers of its log, and what one may ask of it."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class LogFilter(msgspec.Struct, frozen=True):
    """Which log lines: of this level or a graver one, about this job, of this request, with this text anywhere in it
    (whatever the case), from this time on (RFC 3339 in UTC, with Z); None means any."""

    level: str | None = None
    job: str | None = None
    request: str | None = None
    grep: str | None = None
    since: str | None = None


class LogPage(msgspec.Struct, frozen=True):
    """Lines, oldest first, as they were written. `following` is the place after which to go on; `missed` counts those
    since the place that was asked for which are gone already."""

    lines: list[dict[str, Any]]
    following: str
    missed: int = 0


class Logs(Protocol):
    """What this node and its workers logged, as far as it is kept."""

    def page(self, which: LogFilter, *, limit: int, after: str | None) -> LogPage:
        """The first `limit` lines behind the place `after`, or the newest."""
