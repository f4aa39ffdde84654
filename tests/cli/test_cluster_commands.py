"""`hegemon cluster`: the state of it all, at once and live."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from hegemon.cli import cluster_poll
from hegemon.cli.cluster_watch import EVENTS_SHOWN, Watching
from hegemon.client import Client
from tests.cli.conftest import Run
from tests.cli.fake_cluster import FakeCluster
from tests.cli.fake_node_api import FakeNode, serving
from tests.nodes import free_port
from tests.waiting import PATIENCE_S

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
# `hegemon`, for whom a node that a loaded machine makes slow is not one that does not answer.
HEGEMON = f"from hegemon.cli import cluster_poll, main\ncluster_poll.PATIENCE_S = {PATIENCE_S}\nmain()"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_poll, "PATIENCE_S", PATIENCE_S)


def test_cluster_status_is_one_screen_with_all_that_matters(run: Run, fake: FakeNode) -> None:
    for kind in ("echo", "fail", "somewhere-else"):
        run("job", "submit", kind)
    ended = run("cluster", "status")
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out.splitlines()) <= 24
    for part in (
        "c-42",
        "epoch 17",
        "term 5",
        "gossip",
        "least_loaded",
        "n1/w0~1",
        "1,234 ready",
        "3 of type unheard-of",
    ):
        assert part in ended.out
    head, counts = next(
        (line.split(), ended.out.splitlines()[number + 1].split())
        for number, line in enumerate(ended.out.splitlines())
        if "COMPLETED" in line
    )
    assert dict(zip(head, counts, strict=True)) == {
        "SCHEDULED": "0",
        "PENDING": "1",
        "RUNNING": "0",
        "RETRYING": "0",
        "COMPLETED": "1",
        "FAILED": "1",
        "CANCELLED": "0",
    }


def test_cluster_status_as_json_has_every_view(run: Run, client: Client) -> None:
    state = run("cluster", "status", "-o", "json").json
    assert state.keys() == {"cluster", "leader", "election", "nodes", "workers", "stats"}
    assert state["leader"]["leader_id"] == state["nodes"][0]["id"]
    assert state["cluster"] == client.cluster()


def test_json_has_a_short_way(run: Run, fake: FakeNode) -> None:
    assert run("cluster", "status", "--json").json.keys() == run("cluster", "status", "-o", "json").json.keys()


# -- several nodes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def three() -> Iterator[dict[str, FakeNode]]:
    place = FakeCluster()
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(name, place)) for name in ("n1", "n2", "n10")}


def rows(text: str) -> dict[str, list[str]]:
    """The rows of the table of nodes by name; the leader's star is cut off."""
    lines = text.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("NODE"))
    found = [line.replace(" * ", " ").split() for line in lines[head + 1 : lines.index("", head)]]
    return {row[0]: row[1:] for row in found}


def test_status_shows_each_nodes_own_word_and_marks_the_leader(bare_run: Run, three: dict[str, FakeNode]) -> None:
    three["n2"].place.leader = "n2"
    ended = bare_run("--url", three["n1"].url, "cluster", "status")
    assert (ended.code, ended.err) == (0, "")
    found = rows(ended.out)
    assert [*found] == ["n1", "n2", "n10"]
    assert [row[:4] for row in found.values()] == [
        ["follower", "alive", "5", "17"],
        ["leader", "alive", "5", "17"],
        ["follower", "alive", "5", "17"],
    ]
    assert "n2 *" in ended.out
    assert three["n10"].requests == ["GET /api/v1/election"]


def test_status_asks_the_dead_once_and_says_who_they_are(bare_run: Run, three: dict[str, FakeNode]) -> None:
    place = three["n1"].place
    place.urls["n2"] = f"http://127.0.0.1:{free_port()}"
    place.urls["n3"] = f"http://127.0.0.1:{free_port()}"
    place.health = {"n3": "dead"}
    three["n10"].answer_next(503, "store_unavailable", times=100)
    found = rows(bare_run("--url", three["n1"].url, "cluster", "status").out)
    assert found["n2"][:2] == ["-", "no"]
    assert found["n3"][:2] == ["-", "dead"]
    assert found["n10"][0] == "-"
    assert three["n10"].requests == ["GET /api/v1/election"]


# -- watching ----------------------------------------------------------------------------------------------------------


def seen_by(watching: Watching, node: FakeNode) -> list[str]:
    """One round of watching, with the answers of that node; what was said, without the time of day."""
    views = node.place.views(node.name)
    nodes = views["nodes"]["nodes"]
    state = {**views, "nodes": nodes, "stats": {}}
    return [line[14:] for line in watching.saw((node.url, state), {}, NOW)]


def test_a_change_of_leader_is_told_once(three: dict[str, FakeNode]) -> None:
    place, node = three["n1"].place, three["n1"]
    watching = Watching(node.url)
    assert seen_by(watching, node) == ["n1 leads in epoch 17"]
    assert seen_by(watching, node) == []
    place.leader, place.epoch = "n2", 18
    assert seen_by(watching, node) == ["n2 leads in epoch 18, after n1"]
    place.leader = None
    assert seen_by(watching, node) == ["nobody leads since n2 stepped down"]
    place.leader, place.epoch = "n2", 19
    assert seen_by(watching, node) == ["n2 leads in epoch 19"]
    place.epoch = 20
    assert seen_by(watching, node) == ["n2 leads again, in epoch 20"]
    place.leader, place.epoch = "n1", 18
    assert seen_by(watching, node) == []  # a node that lags behind has old news


def test_members_that_die_come_and_go_are_told(three: dict[str, FakeNode]) -> None:
    place, node = three["n1"].place, three["n1"]
    watching = Watching(node.url)
    seen_by(watching, node)
    place.health["n2"] = "suspect"
    place.urls["n3"] = "http://n3"
    assert seen_by(watching, node) == ["n2 is suspect", "n3 joined"]
    del place.urls["n3"]
    assert seen_by(watching, node) == ["n3 is gone"]


def test_a_node_that_falls_silent_is_told_once_and_so_is_its_return(three: dict[str, FakeNode]) -> None:
    node = three["n1"]
    views = node.place.views("n1")
    state = {**views, "nodes": views["nodes"]["nodes"], "stats": {}}
    mute: dict[str, dict[str, Any] | None] = {three["n2"].url: None, three["n10"].url: {}}
    watching = Watching(node.url)

    def said(seen: dict[str, dict[str, Any] | None]) -> list[str]:
        return [line[14:] for line in watching.saw((node.url, state), seen, NOW)]

    assert said(mute) == ["n1 leads in epoch 17", "n2 does not answer"]
    assert said(mute) == []
    assert said({three["n2"].url: {}}) == ["n2 answers again"]


def test_when_the_node_asked_is_silent_the_next_ones_known_are_asked(three: dict[str, FakeNode]) -> None:
    node = three["n1"]
    watching = Watching(node.url)
    seen_by(watching, node)
    assert sorted(watching.urls) == sorted(one.url for one in three.values())
    assert watching.urls[0] == node.url
    seen_by(watching, three["n2"])
    assert watching.urls[0] == three["n2"].url
    assert watching.saw(None, {}, NOW)[0].startswith("12:00:00.000  no node answers; asked ")
    assert watching.saw(None, {}, NOW) == []
    assert seen_by(watching, node) == ["n1 answers again"]
    assert len(watching.events) <= EVENTS_SHOWN


def watch(url: str, *args: str, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-u", "-c", HEGEMON, "--url", url, "cluster", "watch", *args]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]  # the options are a test's own


def test_a_piped_watch_survives_the_node_it_asked_and_ctrl_c_ends_it_in_order() -> None:
    place = FakeCluster()
    with serving("n2", place) as n2:
        with serving("n1", place) as n1:
            process = watch(n1.url)
            assert process.stdout is not None
            assert "n1 leads in epoch 17" in process.stdout.readline()
        place.leader, place.epoch = "n2", 18
        # That n1 is silent may be seen in the same look as its successor, before it, or after.
        told = ""
        while "n2 leads in epoch 18, after n1" not in told:
            assert not told or "n1 does not answer" in told
            told = process.stdout.readline()
            assert told, "the watch ended"
        # The first answer may be of a connection to n1 that outlived it.
        until = time.monotonic() + PATIENCE_S
        while not any("/stats" in request for request in n2.requests):
            assert time.monotonic() < until, n2.requests
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert all("n1 does not answer" in line for line in out.splitlines())


def test_a_watch_may_end_by_itself(bare_run: Run, three: dict[str, FakeNode]) -> None:
    process = watch(three["n1"].url, "--for", "1ms")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert "n1 leads in epoch 17" in out


def test_q_ends_a_watch_at_a_terminal_and_leaves_the_terminal_as_it_was(three: dict[str, FakeNode]) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", HEGEMON, "--url", three["n1"].url, "cluster", "watch"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, env=os.environ | {"TERM": "xterm-256color"})
    os.close(theirs)
    written = b""
    try:
        while b"q ends" not in written:
            assert select.select([ours], [], [], PATIENCE_S)[0], written
            written += os.read(ours, 65536)
        os.write(ours, b"q")
        # Read to the end: a terminal that nobody reads holds up who writes.
        with contextlib.suppress(OSError):  # the other end is closed
            while True:
                assert select.select([ours], [], [], PATIENCE_S)[0], "no end after q"
                written += os.read(ours, 65536)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    for part in (b"n1 *", b"n10", b"CHANGES", b"n1 leads in epoch 17", b"queue depth"):
        assert part in written


def test_watching_nobody_exits_with_5_and_says_how_to_start() -> None:
    process = watch(f"http://127.0.0.1:{free_port()}")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    assert "no node answers" in out
    assert "hegemon up" in err
