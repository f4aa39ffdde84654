"""The command line: a thin client of the REST API, and the commands that start nodes."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in `sys.argv` and exit with one of `hegemon.cli.exits.ExitCode`."""
    try:
        from hegemon.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were still being loaded
        code = 130
    sys.exit(code)
