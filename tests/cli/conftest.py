"""Where the tests of the clients find a node: `api_url`. All that needs no fault on demand takes nothing else.

HEGEMON_TEST_URL points the tests at a real node with the example handlers; tests that need `fake` are skipped then.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hegemon.cli import app
from hegemon.client import Client
from tests.cli.fake_node_api import FakeNode, serving
from tests.waiting import PATIENCE_S

REAL_URL = os.environ.get("HEGEMON_TEST_URL")


@pytest.fixture(autouse=True)
def _nobodys_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login and no credential of whoever runs the tests is used, or changed."""
    if not REAL_URL:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        for name in ("HEGEMON_TOKEN", "HEGEMON_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HEGEMON_CA_FILE", "HEGEMON_CLIENT_CERT"):
            monkeypatch.setenv(name, "")  # what a command sets is taken back with it


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def fake() -> Iterator[FakeNode]:
    if REAL_URL:
        pytest.skip("needs faults on demand")
    with serving() as node:
        yield node


@pytest.fixture
def api_url(request: pytest.FixtureRequest) -> str:
    if REAL_URL:
        return REAL_URL
    node: FakeNode = request.getfixturevalue("fake")
    return node.url


@pytest.fixture
def client(api_url: str) -> Iterator[Client]:
    with Client(api_url, retry_for=PATIENCE_S) as client:
        yield client


Run = Callable[..., Ended]


@pytest.fixture
def bare_run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process: `run("job", "list", stdin="…", tty=True)`."""

    def run(*args: str, stdin: str | bytes = b"", tty: bool = False) -> Ended:
        kind = _Terminal if tty else io.TextIOWrapper
        data = stdin.encode() if isinstance(stdin, str) else stdin
        source, out, err = (kind(io.BytesIO(content), encoding="utf-8") for content in (data, b"", b""))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", source)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            code = app.run(list(args))
            texts = []
            for stream in (out, err):
                stream.flush()
                texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined] # a BytesIO, as made above
        return Ended(code, *texts)

    return run


@pytest.fixture
def run(bare_run: Run, api_url: str) -> Run:
    """`bare_run` with the node's URL."""

    def with_url(*args: str, **options: Any) -> Ended:
        return bare_run("--url", api_url, *args, **options)

    return with_url
