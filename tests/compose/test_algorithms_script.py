"""scripts/test-algorithms.sh --compose, on real containers. It stands outside of the machine that they run on, as a
person would; its engine and its composer are wrappers that go inside.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.compose.cluster import LONG_S, NODES
from tests.compose.engines import Engine

pytestmark = pytest.mark.compose

SCRIPT = Path(__file__).parents[2] / "scripts" / "test-algorithms.sh"


@pytest.fixture
def outside(engine: Engine, compose_dir: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which the engine's commands are those of the machine."""
    shared = compose_dir.parents[1]
    for tool in {engine.tool, engine.composer[0]}:
        # `compose -f PATH`: the same file has another path in there.
        (tmp_path / tool).write_text(
            f"#!/bin/bash\nshared={shlex.quote(str(shared))}\n"
            f'exec {shlex.join(engine.machine.entered())} HEGEMON_BIND="$HEGEMON_BIND" HEGEMON_EXTRA="$HEGEMON_EXTRA" '
            f'{tool} "${{@/#"$shared"//lab}}"\n'
        )
        (tmp_path / tool).chmod(0o755)
    scripts = compose_dir.parent / "scripts"
    scripts.mkdir(exist_ok=True)
    shutil.copy(SCRIPT, scripts)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}


def test_each_algorithms_cluster_has_a_row_and_loses_no_job(
    engine: Engine, compose_dir: Path, outside: dict[str, str], tmp_path: Path
) -> None:
    chosen = (os.environ.get("COMPOSE_ALGORITHMS") or " ".join(NODES)).split()
    before = engine.machine.run(engine.tool, "volume", "ls", "--quiet")
    ended = subprocess.run(
        [compose_dir.parent / "scripts" / SCRIPT.name, "--compose", "--engine", engine.name, *chosen],
        env=os.environ | outside | {"JOBS": "40", "CALM": "1", "PATIENCE": f"{LONG_S:g}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == chosen
    for row in rows:
        assert row[1:3] == [str(NODES[row[0]]), "nodes"]
        faults = row[4:-2]
        assert faults[1::2] == ["ms"] * 4, row
        assert all(took.isdigit() for took in faults[::2]), row
        assert row[-2:] == ["40/40", "ok"]
    # Nothing of it is left.
    assert engine.machine.run(engine.tool, "volume", "ls", "--quiet") == before
    assert "hegemon-test" not in engine.machine.run(engine.tool, "ps", "--all", "--format", "{{.Names}}")
