"""The file that a soak of clusters leaves in docs/measurements, and its figures as the tables of docs/elections.md.

`python -m tests.soak.cluster_report FILE` prints them as Markdown.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from hegemon.version import VERSION

ALGORITHMS: Final = ("bully", "raft", "gossip")


def record(path: Path, kind: str, what: msgspec.Struct) -> None:
    """Add one row to the file's list `kind`. What is in the file stays: a soak may be run in parts."""
    report: dict[str, Any] = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    report.setdefault("version", VERSION)
    report.setdefault(
        "machine", {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    report.setdefault(kind, []).append({"at": now, **msgspec.to_builtins(what)})
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def tables(report: dict[str, Any]) -> str:
    """One table for the scenes, one for the rounds; worst figures of each cell, in seconds."""
    scenes, rounds = report.get("scenes", []), report.get("rounds", [])
    lines = [f"| | {' | '.join(ALGORITHMS)} |", "|---|---|---|---|"]
    for name in dict.fromkeys(scene["scene"] for scene in scenes):
        cells = [
            _scene([row for row in scenes if (row["scene"], row["algorithm"]) == (name, one)]) for one in ALGORITHMS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"| rounds | {' | '.join(ALGORITHMS)} |", "|---|---|---|---|"]
    for name in dict.fromkeys(row["name"] for row in rounds):
        cells = [
            _rounds([row for row in rounds if (row["name"], row["algorithm"]) == (name, one)]) for one in ALGORITHMS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scene(rows: Sequence[dict[str, Any]]) -> str:
    """In this order: nobody active / the old leader active, in office / one leader after healing / changes."""
    if not rows:
        return "-"
    changes = max(row["changes"] + row["changes_after"] for row in rows)
    return (
        f"{max(row['gap_s'] for row in rows):.1f} / {_worst(rows, 'old_active_s')}, {_worst(rows, 'old_held_s')} / "
        f"{max(row['leader_s'] for row in rows):.1f} / {changes}"
    )


def _worst(rows: Sequence[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in rows]
    return "stays" if None in values else f"{max(values):.1f}"


def _rounds(rows: Sequence[dict[str, Any]]) -> str:
    seconds = sorted(second for row in rows for second in row["seconds"])
    if not seconds:
        return "-"
    kept, count = sum(row["kept"] for row in rows), sum(row["count"] for row in rows)
    return f"{kept} of {count}; p50 {seconds[(len(seconds) - 1) // 2]:.2f}, max {seconds[-1]:.2f}"


if __name__ == "__main__":
    sys.stdout.write(tables(msgspec.json.decode(Path(sys.argv[1]).read_bytes())) + "\n")
