"""Durations and sizes: what is read, what is refused, and that writing and reading lose nothing."""

import ast
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import hegemon.cluster.durations as durations_module
from hegemon.cluster.durations import format_duration, format_size, parse_duration, parse_size


@given(st.timedeltas(min_value=timedelta(0)))
@example(timedelta(minutes=1))
@example(timedelta(microseconds=1))
def test_a_duration_survives_being_written_and_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(min_value=0, max_value=10**17))
@example(1 << 30)
@example(16_000)
def test_a_size_survives_being_written_and_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("10s", 10_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("7d", 604_800_000), ("0", 0),
     ("1.5s", 1_500), ("1m500ms", 60_500), (" 1s ", 1_000)],
)  # fmt: skip
def test_durations_are_read(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    "text", ["", "s", "1", "1.5", "1s1m", "1s1s", "1m30", "1 m", "0.1us", "1S", "٣s", "9999999999d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("16kB", 16_000), ("1MB", 1_000_000), ("2MiB", 2 << 20), ("4096", 4096), ("512B", 512), ("1 gib", 1 << 30)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5MB", "MB", "1XB", "٣MB", "1" * 5000])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a size"):
        parse_size(text)


def test_durations_need_only_the_standard_library() -> None:
    tree = ast.parse(Path(durations_module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in imported} <= sys.stdlib_module_names
