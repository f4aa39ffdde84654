"""`hegemon events` against the real application: once, and going on with what happens."""

import asyncio
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hegemon.api.app import create_app
from hegemon.api.server import ApiServer
from hegemon.cli import events
from tests.api.memory import MemoryNode
from tests.cli.conftest import Ended, Run


@pytest.fixture
def node() -> MemoryNode:
    made = MemoryNode()
    made.happen("office.taken", epoch=8, term=5)
    made.happen("job.dead", "error", node="n2", job="a", type="email", queue="mail", error="OSError")
    return made


@pytest.fixture
def command(node: MemoryNode, bare_run: Run, server_loop: asyncio.AbstractEventLoop) -> Iterator[Run]:
    app = create_app(node, node, version="1", request_bytes_max=1000, metrics=None)
    server = ApiServer(app, host="127.0.0.1", port=0)

    def run(coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, server_loop).result()

    run(server.start())
    yield lambda *args, **options: bare_run("--url", server.url, "events", *args, **options)
    run(server.stop(1.0))


def lines(ended: Ended) -> list[dict[str, Any]]:
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def test_events_are_a_table_for_people(command: Run) -> None:
    ended = command()
    assert (ended.code, ended.err) == (0, "")
    heading, first, second = ended.out.splitlines()
    assert heading.split() == ["AT", "NODE", "WHAT", "DETAILS"]
    assert "office.taken" in first
    assert "epoch=8 term=5" in first
    assert "n2" in second


def test_events_are_one_document_a_line_for_programs(command: Run) -> None:
    assert [event["kind"] for event in lines(command("--json"))] == ["office.taken", "job.dead"]
    assert [event["kind"] for event in lines(command("-o", "json", "--kind", "job"))] == ["job.dead"]
    assert [event["node"] for event in lines(command("--json", "--severity", "warning"))] == ["n2"]
    assert [event["node"] for event in lines(command("--json", "--node", "n1"))] == ["n1"]
    assert [event["kind"] for event in lines(command("--json", "--limit", "1"))] == ["job.dead"]


def test_nothing_is_said_in_a_sentence(command: Run, node: MemoryNode) -> None:
    node.events.clear()
    ended = command()
    assert (ended.code, ended.out, ended.err) == (0, "", "No events.\n")


def test_what_the_node_refuses_is_a_wrong_use(command: Run) -> None:
    assert command("--severity", "loud").code == 4


def test_a_node_that_lacks_the_others_says_so(command: Run, node: MemoryNode) -> None:
    node.missing = ["n2", "n3"]
    ended = command()
    assert "n2, n3" in ended.err
    assert "office.taken" in ended.out


def test_following_shows_each_event_once_and_goes_on(
    command: Run, node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = iter(
        (
            lambda: node.happen("store.lost", "error", store="Redis"),
            lambda: None,
            # While the store is away a node may tell the same again.
            lambda: setattr(node, "missing", ["n2"]),
            lambda: node.happen("store.back", store="Redis", seconds=1.5),
            lambda: setattr(node, "missing", None),
            lambda: node.happen("node.stopping", reason="it was told to"),
            lambda: None,
        )
    )

    def pause(seconds: float) -> None:
        step = next(rounds, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    # Not `time.sleep` itself, which threads of MongoDB's client call too.
    monkeypatch.setattr(events, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    ended = command("--follow", "--json")
    assert [json.loads(line)["kind"] for line in ended.out.splitlines()] == [
        *("office.taken", "job.dead", "store.lost", "store.back", "node.stopping"),
    ]
    assert ended.code == 130


def test_following_ends_when_its_time_is_up(command: Run) -> None:
    assert [event["kind"] for event in lines(command("-f", "--json", "--for", "1ms"))] == ["office.taken", "job.dead"]
