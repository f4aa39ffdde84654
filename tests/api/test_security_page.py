"""The table of roles that people read is the one that the code asks."""

from pathlib import Path

from hegemon.api import export
from hegemon.api.access import ACCESS

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def test_the_table_of_access_in_the_documents_is_that_of_the_code() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == export.security_page(written), "run: python -m hegemon.api.export docs"
    assert all(f"| {method} | `{path}` |" in written for method, path in ACCESS)
