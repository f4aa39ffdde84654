"""`hegemon top` at a real terminal, in pipes, and while nodes die."""

from __future__ import annotations

import json
import re
import subprocess

from tests.cli.conftest import Run
from tests.cli.fake_cluster import FakeCluster
from tests.cli.fake_node_api import serving
from tests.cli.terminal import HEGEMON, at_a_terminal
from tests.cli.test_terminal import environment
from tests.nodes import free_port
from tests.waiting import PATIENCE_S

# What the made-up cluster has to complain of, and nothing else.
WELL = "3 of type unheard-of wait"
ALT_ON, ALT_OFF = "\x1b[?1049h", "\x1b[?1049l"


def test_keys_change_the_view_and_q_leaves_the_terminal_as_it_was() -> None:
    with serving() as node, at_a_terminal("--url", node.url, "top", "--every", "100ms") as terminal:
        terminal.until(r"^q ends   p pauses   tab nodes   s sorts: NODE")
        screen = terminal.until(r"^rate  done 41\.5  in 42\.0")
        assert "3 of type unheard-of wait for a worker" in screen
        assert len(screen.split("\n")) == 24
        assert terminal.settings != terminal.before
        terminal.press("\t")
        terminal.until(r"tab queues")
        terminal.press("s")
        terminal.until(r"s sorts: READY")
        terminal.press("\x1b[Z")
        terminal.until(r"tab nodes")
        terminal.press("p")
        terminal.until(r"PAUSED \d\d:\d\d:\d\d$")
        asked = len(node.requests)
        terminal.press("sss")
        terminal.until(r"s sorts: LAG")
        assert len(node.requests) <= asked + 6, "who is paused asks for nothing more than what was under way"
        terminal.press("p")
        terminal.until(r"p pauses")
        terminal.resize(160, 40)
        screen = terminal.until(r"^NODE .* QUEUE ")
        assert len(screen.split("\n")) == 40
        terminal.press("q")
        assert terminal.ended() == 0
        assert terminal.settings == terminal.before
    assert terminal.written.index(ALT_ON) < terminal.written.index(ALT_OFF)
    assert "\x1b[32m" in terminal.written


def test_it_goes_on_with_another_node_and_says_when_there_is_none() -> None:
    place = FakeCluster()
    with (
        serving("n2", place) as second,
        serving("n1", place) as first,
        at_a_terminal("--url", first.url, "top", "--every", "100ms") as terminal,
    ):
        terminal.until(r"by n1")
        first.answer_next(503, "stopping", times=1_000_000)
        terminal.until(r"by n2")
        second.answer_next(503, "stopping", times=1_000_000)
        screen = terminal.until(r"^No node answers for \d+ s; asked http")
        assert "41.5" in screen, "the last answer stays"
        second.faults.clear()
        terminal.until(rf"^{WELL}")
        terminal.press("q")
        assert terminal.ended() == 0


def test_without_colours_there_are_none() -> None:
    with serving() as node, at_a_terminal("--url", node.url, "top", environment={"NO_COLOR": "1"}) as terminal:
        terminal.until(WELL)
        terminal.press("q")
        assert terminal.ended() == 0
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", terminal.written)


def test_it_ends_by_itself_and_by_ctrl_c() -> None:
    with serving() as node:
        with at_a_terminal("--url", node.url, "top", "--for", "1ms") as terminal:
            assert terminal.ended() == 0
        assert WELL in terminal.written
        with at_a_terminal("--url", node.url, "top") as terminal:
            terminal.until(WELL)
            assert terminal.process is not None
            terminal.process.send_signal(2)
            assert terminal.ended() == 0


def test_once_is_one_frame_also_at_a_terminal_and_a_pipe_is_once() -> None:
    with serving() as node:
        with at_a_terminal("--url", node.url, "top", "--once") as terminal:
            assert terminal.ended() == 0
        assert ALT_ON not in terminal.written
        assert "q ends" not in terminal.written
        piped = subprocess.run(
            [*HEGEMON, "top"], env=environment(node.url), capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
    assert WELL in piped.stdout
    assert "\x1b" not in piped.stdout
    assert not any(line.endswith(" ") for line in piped.stdout.splitlines())
    assert sum(line.startswith("2") or ":" in line[:9] for line in piped.stdout.splitlines()) >= 15, "events"


def test_json_is_all_that_it_knows(bare_run: Run) -> None:
    with serving() as node:
        known = bare_run("--url", node.url, "top", "--json").json
        assert known.keys() == {"asked", "cluster", "leader", "election", "nodes", "stats", "activity"}
        assert known["asked"] == node.url
        assert json.loads(json.dumps(known["stats"]["figures"]))["rates"]["completed"]["last_10s"] == 41.5


def test_nobody_there_exits_with_5_and_a_refusal_with_4(bare_run: Run) -> None:
    ended = bare_run("--url", f"http://127.0.0.1:{free_port()}", "top", "--once")
    assert (ended.code, ended.out) == (5, "")
    with serving() as node:
        node.answer_next(401, "unauthenticated", times=100)
        assert bare_run("--url", node.url, "top", "--once").code == 4
        with at_a_terminal("--url", node.url, "top") as terminal:
            assert terminal.ended() == 4
        assert "hegemon: " in terminal.written.split(ALT_OFF)[-1], "the word stays on the screen"
