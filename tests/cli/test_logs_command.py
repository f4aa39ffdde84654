"""`hegemon logs` against the real application of several nodes: merged, filtered, going on when one of them dies."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hegemon.api.app import create_app
from hegemon.api.server import ApiServer
from hegemon.cli import log_nodes
from hegemon.cli.log_nodes import ClusterLog
from hegemon.cluster.ports import ElectionInfo, NodeInfo
from tests.api.memory import STARTED_AT, MemoryNode
from tests.cli.conftest import Ended, Run
from tests.nodes import free_port
from tests.waiting import PATIENCE_S

JOB = "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"


class Node(MemoryNode):
    """One of several; all know of each other."""

    def __init__(self, name: str, urls: dict[str, str]) -> None:
        super().__init__()
        self.name, self.urls = name, urls

    def election(self) -> ElectionInfo:
        return ElectionInfo(self.name, "gossip", [], "follower", False, False, None, 1, 1, [], [])

    async def nodes(self) -> list[NodeInfo]:
        return [
            NodeInfo(name, f"{name}~1", url, "0.1.0", True, False, 8, 0, "least_loaded", STARTED_AT)
            for name, url in self.urls.items()
        ]

    def say(self, second: int, event: str, level: str = "info", **fields: Any) -> None:
        stamp = f"2026-11-23T12:00:{second:02}.000000Z"
        self.ring.keep(level, json.dumps({"timestamp": stamp, "level": level, "event": event, **fields}))


@dataclass
class Several:
    """Nodes n1 and n2 under the real server, each of which can die and come back."""

    loop: asyncio.AbstractEventLoop
    urls: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    servers: dict[str, ApiServer] = field(default_factory=dict)

    def start(self, name: str) -> Node:
        port = int(self.urls[name].rpartition(":")[2]) if name in self.urls else free_port()
        self.urls[name] = f"http://127.0.0.1:{port}"
        node = self.nodes[name] = Node(name, self.urls)
        app = create_app(node, node, version="1", request_bytes_max=1000, metrics=None)
        self.servers[name] = ApiServer(app, host="127.0.0.1", port=port)
        self._run(self.servers[name].start())
        return node

    def stop(self, name: str) -> None:
        self._run(self.servers.pop(name).stop(0.0))

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


@pytest.fixture
def several(server_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Several]:
    for name in ("PATIENCE_S", "FIRST_PATIENCE_S"):
        monkeypatch.setattr(log_nodes, name, PATIENCE_S)
    made = Several(server_loop)
    for name in ("n1", "n2"):
        made.start(name)
    made.nodes["n1"].say(1, "one", job=JOB, request_id="r1")
    made.nodes["n2"].say(2, "two", "warning", reason="why not")
    made.nodes["n1"].say(3, "three", "error", exception="Traceback\n  line 1\nValueError: x")
    yield made
    for name in list(made.servers):
        made.stop(name)


@pytest.fixture
def command(several: Several, bare_run: Run) -> Run:
    return lambda *args, **options: bare_run("--url", several.urls["n1"], "logs", *args, **options)


def events(ended: Ended) -> list[str]:
    assert ended.code == 0, ended.err
    return [json.loads(line)["event"] for line in ended.out.splitlines()]


def test_the_lines_of_all_nodes_are_one_log_in_the_order_of_time(command: Run) -> None:
    ended = command()
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert [line.split()[3] for line in lines[:3]] == ["one", "two", "three"]
    assert [line.split()[2] for line in lines[:3]] == ["n1", "n2", "n1"]
    assert "reason=why not" in lines[1]
    # A traceback stands below its line.
    assert [line.strip() for line in lines[3:]] == ["Traceback", "line 1", "ValueError: x"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([], ["one", "two", "three"]),
        (["--node", "n2"], ["two"]),
        (["--level", "warning"], ["two", "three"]),
        (["--job", JOB], ["one"]),
        (["--request", "r1"], ["one"]),
        (["--grep", "WHY"], ["two"]),
        (["--limit", "2"], ["two", "three"]),
        (["--since", "2026-11-23T12:00:02Z"], ["two", "three"]),
    ],
)
def test_lines_are_chosen(command: Run, asked: list[str], found: list[str]) -> None:
    assert events(command("--json", *asked)) == found


def test_a_node_that_does_not_answer_is_named_and_the_others_are_shown(command: Run, several: Several) -> None:
    several.stop("n2")
    ended = command("--json")
    assert events(ended) == ["one", "three"]
    assert "n2 does not answer" in ended.err


@pytest.mark.parametrize("dying", ["n1", "n2"])
async def test_following_survives_the_death_and_the_return_of_a_node(
    several: Several, dying: str, capsys: pytest.CaptureFixture[str]
) -> None:
    survivor = several.nodes["n2" if dying == "n1" else "n1"]
    # The node that was asked first may be the one that dies.
    async with ClusterLog(several.urls["n1"], {}, []) as log:
        assert [line["event"] for line in await log.begin(10)] == ["one", "two", "three"]
        await asyncio.to_thread(several.stop, dying)
        survivor.say(10, "meanwhile")
        assert [line["event"] for line in await log.more()] == ["meanwhile"]
        assert await log.more() == []
        (await asyncio.to_thread(several.start, dying)).say(11, "back")
        assert [(line["node"], line["event"]) for line in await log.more()] == [(dying, "back")]
    # Each is said once.
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"{dying} does not answer",
        f"{dying} answers again.",
    ]


def test_following_goes_on_until_its_time_is_up(command: Run) -> None:
    assert events(command("--json", "--follow", "--for", "600ms")) == ["one", "two", "three"]


def test_what_is_wrong_is_a_sentence(command: Run) -> None:
    assert "there is no node n9" in command("--node", "n9").err.lower()
    assert command("--level", "loud").code == 2
    assert command("--since", "yesterday").code == 2
    ended = command("--grep", "nobody said this")
    assert (ended.code, ended.out) == (0, "")
    assert "No lines" in ended.err


def test_the_files_of_a_local_cluster_are_read_without_any_node(bare_run: Run, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    one = {"timestamp": "2026-11-23T12:00:01.000000Z", "level": "info", "event": "one", "node": "node-1", "job": JOB}
    two = {"timestamp": "2026-11-23T12:00:02.000000Z", "level": "error", "event": "two", "node": "node-2"}
    (logs / "node-1.log").write_text(json.dumps(one) + "\nprinted by a handler\n", encoding="utf-8")
    (logs / "node-2.log").write_text(json.dumps(two) + "\n", encoding="utf-8")
    (logs / "mongodb.log").write_text('{"t": "a store of its own form"}\n', encoding="utf-8")

    def run(*args: str) -> list[str]:
        return events(bare_run("logs", "--json", "--files", str(tmp_path), *args))

    assert run() == ["one", "printed by a handler", "two"]
    assert run("--job", JOB) == ["one"]
    assert run("--node", "node-2") == ["two"]
    assert run("--level", "error") == ["two"]
    assert bare_run("logs", "--files", str(tmp_path / "nowhere")).code == 2
