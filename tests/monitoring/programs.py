"""Prometheus' programs, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_PACKAGES = {"prometheus": "prometheus", "promtool": "prometheus", "alertmanager": "prometheus-alertmanager",
             "amtool": "prometheus-alertmanager"}  # fmt: skip


def program(name: str) -> str:
    """Its path. Where it is missing, the test is skipped and says what to install."""
    # Debian's packages name the second one after themselves.
    for candidate in (name, f"prometheus-{name}"):
        if found := shutil.which(candidate):
            return found
    pytest.skip(f"needs {name}: install it (Debian, Ubuntu: apt-get install {_PACKAGES[name]})")


def ended_well(*command: str | Path) -> str:
    """What it wrote; fails with that if it did not end well."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
