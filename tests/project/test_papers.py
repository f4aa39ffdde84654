"""The tables of docs/papers.md name tests that exist, and all of those that are about a paper and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "papers.md"
OF_A_PAPER = (
    "tests/election/test_bully_paper.py",
    "tests/cluster/test_raft_thesis.py",
    "tests/election/test_swim_probes.py",
    "tests/election/test_swim_members.py",
    "tests/election/test_swim_group.py",
)


def rows() -> list[list[str]]:
    """The cells of every row that makes a claim."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[-1] != "held by"]


def written_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


def named() -> set[str]:
    return set(re.findall(r"`(test_\w+)`", PAGE.read_text()))


def test_every_test_that_the_page_names_exists() -> None:
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in written_in(path)}
    there |= set(written_in(ROOT / "tests" / "election" / "contract_suite.py"))
    assert named() <= there, f"no such test: {sorted(named() - there)}"


def test_every_sentence_has_a_test_or_is_said_not_to_be_ours() -> None:
    found = rows()
    assert len(found) > 120
    for row in found:
        assert len(row) == 3, row
        assert "`test_" in row[-1] or row[-1].startswith("not ours: "), row


@pytest.mark.parametrize("path", OF_A_PAPER)
def test_every_test_of_a_paper_is_on_the_page(path: str) -> None:
    mine = set(written_in(ROOT / path))
    assert mine <= named(), f"not on the page: {sorted(mine - named())}"
