"""The project's own rules: the lock, the verbs of `./dev`, and the size of files and functions."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
# Paths under hegemon/ that may be longer, each with its reason.
LONGER_FILES: dict[str, str] = {}
LONGER_FUNCTIONS: dict[str, str] = {}


def canonical(requirement: str) -> str:
    """The normalized name in a requirement (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def locked() -> dict[str, str]:
    """Each requirement of the lock by its canonical name."""
    logical_lines = LOCK.replace("\\\n", " ").splitlines()
    return {canonical(line): line for line in logical_lines if line.strip() and not line.startswith("#")}


def dev(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([ROOT / "dev", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_lock_names_no_address() -> None:
    assert not re.search(r"://|@\s|--(extra-)?index|--find-links", LOCK)


def test_every_locked_requirement_is_pinned_and_hashed() -> None:
    requirements = locked()
    assert len(requirements) > 40
    for name, requirement in requirements.items():
        assert "==" in requirement, name
        assert "--hash=sha256:" in requirement, name


def test_the_lock_covers_what_the_project_asks_for() -> None:
    project = PYPROJECT["project"]
    extras = [requirement for group in project["optional-dependencies"].values() for requirement in group]
    asked = [
        *project["dependencies"],
        *extras,
        *PYPROJECT["dependency-groups"]["dev"],
        *PYPROJECT["build-system"]["requires"],
    ]
    missing = {canonical(requirement) for requirement in asked} - locked().keys()
    assert not missing, f"run ./dev lock: {sorted(missing)}"


def test_help_lists_exactly_the_verbs_that_dev_has(tmp_path: Path) -> None:
    result = dev("help", cwd=tmp_path)
    assert result.returncode == 0
    listed = set(re.findall(r"^  ([a-z-]+) ", result.stdout, re.MULTILINE))
    cases = (ROOT / "dev").read_text().partition("case $verb in")[2]
    handled = set(re.findall(r"^([a-z-]+)(?: \|.*)?\)$", cases, re.MULTILINE))
    assert listed == handled >= {"up", "test", "lint", "bench", "soak", "lock", "help"}


def test_an_unknown_verb_is_refused_with_the_help_text(tmp_path: Path) -> None:
    result = dev("nonsense", cwd=tmp_path)
    assert result.returncode == 2
    assert "usage: ./dev VERB" in result.stderr


@pytest.mark.parametrize(
    "script", ["dev", ".ci/run", "scripts/monitor.sh", "scripts/test-algorithms.sh", "compose/init"]
)
def test_the_scripts_are_executable(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111


def test_no_file_grows_beyond_the_cap() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for suffix in ("*.py", "*.lua")
        for path in (ROOT / "hegemon").rglob(suffix)
    }
    assert lengths
    longer = {path: length for path, length in lengths.items() if length > MAX_FILE_LINES}
    assert longer.keys() == LONGER_FILES.keys(), longer


def test_no_function_grows_beyond_the_cap() -> None:
    longer: dict[str, int] = {}
    for path in (ROOT / "hegemon").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    longer[f"{path.relative_to(ROOT)}:{node.name}"] = length
    assert longer.keys() == LONGER_FUNCTIONS.keys(), longer
