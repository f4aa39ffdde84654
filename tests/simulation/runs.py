"""Simulated runs for tests: each call is a process of its own, whose hashes are pinned, so that a failing seed replays
everywhere; what is told of a failure says how."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.simulation.scenarios import Report

ROOT = Path(__file__).resolve().parents[2]


def simulated(*arguments: str | int) -> list[Report]:
    """The reports of `python -m tests.simulation ...`."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--json", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=False,
        timeout=900,
    )
    assert found.returncode in (0, 1), found.stderr.decode()[-3000:]
    return [msgspec.json.decode(line, type=Report) for line in found.stdout.splitlines()]


def told(reports: Iterable[Report]) -> str:
    """What went wrong, and how to see it again."""
    return "\n".join(
        f"{report.command}\n    " + "\n    ".join(f"{v.at_s} s: {v.kind}: {v.detail}" for v in report.violations[:5])
        for report in reports
        if report.violations
    )
