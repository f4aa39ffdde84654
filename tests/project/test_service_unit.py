"""The systemd unit: what systemd itself thinks of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nodes import ROOT

UNIT = ROOT / "scripts" / "hegemon.service"
# systemd's own scale, from 0 (best) to 10; 1.6 when this was written.
EXPOSURE_MAX = 2.0

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze (Debian: systemd)")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there: verify looks for it."""
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text())
    made = tmp_path / UNIT.name
    made.write_text(text)
    return made


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line(unit: Path) -> None:
    ended = analyze("verify", "--man=no", "--recursive-errors=no", str(unit))
    assert (ended.returncode, ended.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("KillMode=", "KillModus="))
    assert "KillModus" in analyze("verify", "--man=no", "--recursive-errors=no", str(unit)).stderr, "it can fail"


def test_a_node_has_no_rights_beyond_its_own(unit: Path) -> None:
    ended = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(unit))
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr


def test_it_waits_for_longer_than_a_node_drains() -> None:
    text = UNIT.read_text()
    (stop_s,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)s$", text)
    (drain_s,) = re.findall(r"(?m)^#SHUTDOWN_TIMEOUT=(\d+)s$", (ROOT / ".env.example").read_text())
    assert int(stop_s) > int(drain_s) + 10
