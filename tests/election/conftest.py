"""`--rewrite-transcripts` writes the golden dialogues anew, to be reviewed like code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-transcripts", action="store_true", help="write tests/election/transcripts anew")


@pytest.fixture
def transcript(request: pytest.FixtureRequest) -> Callable[[str, str], str]:
    """The dialogue of that name as it was reviewed. The one that was played is written there first, if it is to be."""

    def reviewed(name: str, text: str) -> str:
        path = TRANSCRIPTS / f"{name}.txt"
        if request.config.getoption("--rewrite-transcripts", default=False):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), "run with --rewrite-transcripts and review the new file"
        return path.read_text(encoding="utf-8")

    return reviewed
