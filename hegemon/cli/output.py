"""Where words go: the result to stdout, as a table or as one JSON document, and all else to stderr."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_MIN: Final = 80  # a narrower terminal breaks lines by itself; nothing more is cut for it
WIDTH_PIPE: Final = 10_000


class Output(StrEnum):
    """The form of a result."""

    TABLE = "table"
    JSON = "json"


JsonOption = Annotated[bool, typer.Option("--json", help="The same as --output json.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json for programs.")]


def emit_json(value: Any) -> None:
    """One JSON document in UTF-8, whatever the locale."""
    import msgspec

    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def emit(*parts: RenderableType) -> None:
    """Tables and text for people. Piped, lines are as long as they are, without colours or trailing blanks."""
    console = _console()
    if console.is_terminal:
        console.print(*parts, sep="\n")
        return
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    for line in captured.get().splitlines():
        print(line.rstrip())


def emit_line(text: str) -> None:
    """One line that a script may take as it is."""
    print(clean(text))


def note(text: str) -> None:
    """A word to the person, beside the result."""
    print(clean(text), file=sys.stderr)


def clean(text: str) -> str:
    """The text on one line, without control characters: a payload or an error message must not steer the terminal."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _console() -> Console:
    from rich.console import Console

    if not sys.stdout.isatty():
        return Console(file=sys.stdout, width=WIDTH_PIPE, highlight=False, markup=False, emoji=False)
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    console.width = max(console.width, WIDTH_MIN)
    return console
