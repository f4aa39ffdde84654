"""The look of tables, in one place: headed columns without lines, ids whole, status in colour."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions
from rich.text import Text

from hegemon.cli.output import clean

GAP: Final = "  "
FLEXIBLE_MIN: Final = 6
STATUS_STYLES: Final = {
    "scheduled": "blue",
    "pending": "default",
    "running": "cyan",
    "retrying": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "bright_black",
}


class Sheet:
    """A table whose `flexible` columns give way where it is narrow; all others are never cut.

    The library's own table shortens every column when it must, and half an id is of no use: better a line too long.
    """

    def __init__(self, *columns: str, right: Collection[str] = (), flexible: Collection[str] = ()) -> None:
        self._columns = columns
        self._right = [name in right for name in columns]
        self._flexible = [name in flexible for name in columns]
        self._rows: list[Sequence[Text]] = [[Text(name, style="bold") for name in columns]]

    def add(self, *cells: Text) -> None:
        """One row, with a cell for each column."""
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(self._columns)} cells wanted, {len(cells)} given")
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        widths = self._widths(options.max_width)
        for row in self._rows:
            cells = [cell.copy() for cell in row]
            for cell, width, right in zip(cells, widths, self._right, strict=True):
                cell.truncate(width, overflow="ellipsis")
                cell.align("right" if right else "left", width)
            line = Text(GAP).join(cells)
            line.rstrip()
            line.no_wrap, line.overflow = True, "ignore"
            yield line

    def _widths(self, available: int) -> list[int]:
        """The natural widths, but flexible columns share what the others leave: small ones keep all they need."""
        widths = [max(row[index].cell_len for row in self._rows) for index in range(len(self._columns))]
        fixed = sum(width for width, flexible in zip(widths, self._flexible, strict=True) if not flexible)
        left = available - fixed - len(GAP) * (len(widths) - 1)
        by_need = sorted((index for index, flexible in enumerate(self._flexible) if flexible), key=widths.__getitem__)
        for done, index in enumerate(by_need):
            share = max(left // (len(by_need) - done), FLEXIBLE_MIN)
            widths[index] = min(widths[index], share)
            left -= widths[index]
        return widths


def cell(value: object, style: str = "") -> Text:
    """One cell; its text is data, never markup."""
    return Text(clean("-" if value is None or value == "" else str(value)), style=style)


def status_cell(status: str) -> Text:
    """A status in its colour."""
    return cell(status, STATUS_STYLES.get(status, ""))
