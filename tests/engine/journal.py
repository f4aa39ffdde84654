"""The handlers' journal as its reader sees it: the judge that stands outside of Hegemon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient


@dataclass(frozen=True)
class Line:
    """One event of a handler. `at_ns` is CLOCK_MONOTONIC, which all processes of a machine share."""

    event: str
    job_id: str
    attempt: int
    at_ns: int
    pid: int


@dataclass(frozen=True)
class Journal:
    """An append-only file of lines."""

    path: Path

    def lines(self, event: str | None = None, job_id: str | None = None) -> list[Line]:
        """Whole lines so far, in the order in which they were written."""
        if not self.path.exists():
            return []
        text = self.path.read_text()
        parts = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        found = [Line(part[0], part[1], int(part[2]), int(part[3]), int(part[4])) for part in parts]
        return [line for line in found if event in (None, line.event) and job_id in (None, line.job_id)]

    def starts(self, job_id: str | None = None) -> list[Line]:
        """Starts, of one job or of all."""
        return self.lines("start", job_id)

    def ends(self, job_id: str | None = None) -> list[Line]:
        """Ends, of one job or of all."""
        return self.lines("end", job_id)


def documents(environment: dict[str, str], query: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Documents of jobs as MongoDB itself has them."""
    with MongoClient[dict[str, Any]](environment["MONGODB_URI"]) as client:
        return list(client[environment["MONGODB_DATABASE"]]["jobs"].find(query or {}).sort("_id"))
