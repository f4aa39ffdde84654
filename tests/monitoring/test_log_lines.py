"""docs/logs.md and the code say the same: every line has its row and every row its line, and fields have one name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from hegemon.events.table import KINDS
from hegemon.monitoring.event_lines import OWN_LINES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
LINES: dict[str, str] = dict(
    re.findall(r"^\| `([a-z_]+)` \| (debug|info|warning|error|as the line) \|", PAGE, re.MULTILINE)
)
FIELDS = {
    name
    for row in re.findall(r"^\| (`[a-z_`, ]+) \| [^|]+ \|$", PAGE, re.MULTILINE)
    for name in re.findall(r"`([a-z_]+)`", row)
}
WRITERS = {"debug", "info", "warning", "error", "exception", "critical"}
LEVELS = {"exception": "error"}


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((ROOT / "hegemon").rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def calls() -> Iterator[tuple[Path, str, str | None, set[str]]]:
    """Where a line is written: file, level, name (None for one that is put together), fields."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in WRITERS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("log", "_log")
            ):
                first = node.args[0]
                name = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
                fields = {keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "exc_info"}
                yield path, LEVELS.get(node.func.attr, node.func.attr), name, fields


def test_every_line_is_explained_under_the_level_that_it_has() -> None:
    written: dict[str, set[str]] = {}
    for path, level, name, _ in calls():
        if name is not None:
            assert name in LINES, f"{path}: {name} is not in docs/logs.md"
            written.setdefault(name, set()).add(level)
    for name, levels in written.items():
        assert LINES[name] in levels, f"{name} is written at {levels}"


def test_every_line_that_is_explained_is_written() -> None:
    texts = {
        node.value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert LINES.keys() - texts == set()
    assert len(LINES) > 60


def test_a_field_has_one_name_everywhere() -> None:
    for path, _, name, fields in calls():
        assert fields - FIELDS == set(), f"{path}: {name}"


def test_each_event_is_one_line() -> None:
    assert OWN_LINES.keys() - KINDS.keys() == set()
    assert {line for lines in OWN_LINES.values() for line in lines} - LINES.keys() == set()
