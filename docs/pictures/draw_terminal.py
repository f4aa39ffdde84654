"""Draws tour.svg and top.svg: what real commands print at a real terminal, with a node that has the example handlers.

`python docs/pictures/draw_terminal.py` beside `./dev up`, after `python -m examples.pictures`. `… draw_terminal.py top`
draws top.svg alone, under whatever load there is; beside `./dev up --nodes 3` it is worth looking at.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

COLUMNS: Final = 112
LINES: Final = 31
PROGRAM: Final = Path(sysconfig.get_path("scripts")) / "hegemon"
# Work for the last screen to show: some that runs, more that waits for a slot, some for later, one without a handler.
BACKGROUND: Final[tuple[tuple[str, ...], ...]] = (
    *(("job", "submit", "sleep", '{"seconds": 20}'),) * 6,
    *(("job", "submit", "echo", "{}", "--delay", "10m"),) * 3,
    ("job", "submit", "send-fax", "{}"),
)
SHOWN: Final[tuple[tuple[str, ...], ...]] = (
    ("job", "submit", "email", '{"to": "user@example.com", "subject": "Hello"}', "--wait"),
    ("cluster", "status"),
)
# Like rich's own frame, without a font from elsewhere: a picture must not depend on an address.
FRAME: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{ font-family: 'DejaVu Sans Mono', Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def at_a_terminal(arguments: tuple[str, ...]) -> str:
    """What `hegemon` prints with these arguments where it thinks that a person is looking."""
    reader, writer = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    environment = os.environ | size | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen([PROGRAM, *arguments], stdout=writer, stderr=writer, env=environment) as process:  # noqa: S603 - our own program
        os.close(writer)
        said = bytearray()
        try:
            while chunk := os.read(reader, 4096):
                said += chunk
        except OSError:  # Linux says so when the other end has been closed.
            pass
        process.wait()
    os.close(reader)
    return said.decode().replace("\r\n", "\n").rstrip()


def console_of_its_own() -> Console:
    """One that remembers what it showed."""
    return Console(record=True, width=COLUMNS, file=sys.stderr, force_terminal=True, color_system="truecolor")


def draw(console: Console, name: str) -> None:
    """Write what it showed beside this file."""
    svg = console.export_svg(title="hegemon", code_format=FRAME, unique_id=name)
    Path(__file__).with_name(f"{name}.svg").write_text(svg, encoding="utf-8")


def top() -> None:
    """One frame of `hegemon top`."""
    console = console_of_its_own()
    console.print(Text.from_ansi(at_a_terminal(("top", "--once"))))
    draw(console, "top")


def tour() -> None:
    """The commands that the README begins with."""
    console = console_of_its_own()
    for arguments in BACKGROUND:
        at_a_terminal(arguments)
    for arguments in SHOWN:
        typed = " ".join(f"'{part}'" if " " in part else part for part in arguments)
        console.print(Text.assemble(("$ ", "bold green"), (f"hegemon {typed}", "bold")))
        console.print(Text.from_ansi(at_a_terminal(arguments)))
        console.print()
    draw(console, "tour")


if __name__ == "__main__":
    if sys.argv[1:] != ["top"]:
        tour()
    top()
