"""Writes what is generated from the API: `python -m hegemon.api.export docs` makes `openapi.json` and `api.md`, and the
table of access in `security.md`.

Tests hold them against the code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from hegemon.api.access import access_table
from hegemon.api.app import OPERATIONS, TITLE
from hegemon.api.openapi import specification
from hegemon.api.problems import TABLE

# The version of the paths, not of a release: the file changes when the API does.
API_VERSION: Final = "1"

_INTRODUCTION: Final = """\
# The REST API

Written by `python -m hegemon.api.export docs`; do not edit. The full description with schemas and examples is
[openapi.json](openapi.json); every node serves its own under `/openapi.json`.

Bodies are JSON in UTF-8 under `Content-Type: application/json`. Times are RFC 3339 in UTC. Unknown fields and unknown
query parameters are refused. Every answer carries `X-Request-ID`: the caller's own if it sent a plain one, else a new
one.
"""
_PROBLEMS: Final = """\
## Problems

Every error is `application/problem+json` (RFC 9457): `type` (a path on the node that explains the code), `title`,
`status`, `detail`, `code`, `request_id`, and `field` where one place is to blame. `code` is stable; the texts are not.
Where *Retry-After* is marked, the same request may succeed later, and the header says in how many seconds.
"""

_ACCESS: Final = "<!-- access: written from hegemon.api.access; python -m hegemon.api.export docs -->"
_ACCESS_END: Final = "<!-- /access -->"


def openapi_json() -> str:
    """The content of `docs/openapi.json`."""
    return json.dumps(specification(OPERATIONS, title=TITLE, version=API_VERSION), indent=2) + "\n"


def api_page() -> str:
    """The content of `docs/api.md`."""
    lines = [_INTRODUCTION, "## Operations\n", "| | path | |", "|---|---|---|"]
    lines += [f"| {one.method} | `{one.path}` | {one.summary} |" for one in OPERATIONS]
    lines += ["", _PROBLEMS, "| status | code | meaning | Retry-After |", "|---|---|---|---|"]
    lines += [
        f"| {kind.status} | `{code}` | {kind.title}. {kind.explanation} | {'yes' if kind.retry else ''} |"
        for code, kind in TABLE.items()
    ]
    return "\n".join(lines) + "\n"


def security_page(written: str) -> str:
    """`docs/security.md` with the table of access as the code has it; the rest of the page is written by hand."""
    before, _, rest = written.partition(_ACCESS)
    return f"{before}{_ACCESS}\n{access_table()}{_ACCESS_END}{rest.partition(_ACCESS_END)[2]}"


def main(folder: Path) -> None:
    """Write the files into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "openapi.json").write_text(openapi_json(), encoding="utf-8")
    (folder / "api.md").write_text(api_page(), encoding="utf-8")
    security = folder / "security.md"
    if security.exists():
        security.write_text(security_page(security.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
