"""The command as a process: pipes, terminals of every width, Ctrl-C, and how fast it is there."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

from hegemon.client import Client
from tests.cli.fake_node_api import FakeNode
from tests.waiting import PATIENCE_S

STYLE = re.compile("\x1b\\[[0-9;]*m")
HEGEMON = [sys.executable, "-m", "hegemon.cli"]


def environment(url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "HEGEMON_URL": url, "TERM": "xterm-256color", **more}


def at_a_terminal(url: str, *args: str, **more: str) -> str:
    """What a command writes when its stdout is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*HEGEMON, *args], stdout=theirs, stdin=theirs, env=environment(url, **more))
    os.close(theirs)
    written = b""
    try:
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                written += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return written.decode()


def test_letters_go_through_pipes_whatever_the_locale(api_url: str) -> None:
    env = environment(api_url, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    payload = '{"name": "Zoë 🐘"}'.encode()
    command = [*HEGEMON, "job", "submit", "echo", "-", "--wait", "-o", "json"]
    ended = subprocess.run(command, input=payload, capture_output=True, env=env, timeout=PATIENCE_S, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert '"Zoë 🐘"'.encode() in ended.stdout
    as_table = subprocess.run(
        [*command[:-1], "table"], input=payload, capture_output=True, env=env, timeout=PATIENCE_S, check=False
    )
    assert as_table.returncode == 0


def test_a_reader_that_had_enough_is_no_failure(api_url: str, client: Client) -> None:
    client.submit_batch([{"type": "echo", "payload": {"text": "x" * 1000}} for _ in range(200)])
    command = [*HEGEMON, "job", "list", "--all", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(api_url)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert (process.stderr.read(), process.wait(PATIENCE_S)) == (b"", 0)


def test_ctrl_c_while_waiting_exits_with_130_and_one_line(fake: FakeNode, client: Client) -> None:
    job_id = client.submit("nobody-handles-this")
    command = [*HEGEMON, "job", "wait", job_id]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(fake.url)
    ) as process:
        until = time.monotonic() + PATIENCE_S
        while not any("/wait" in request for request in fake.requests) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (130, b"", b"hegemon: Interrupted.\n")


def test_ids_are_whole_and_lines_fit_at_a_terminal(api_url: str, client: Client) -> None:
    job_id = client.submit("a-type-with-quite-a-long-name/" + "x" * 60, queue="q" * 80)
    for columns in (80, 100, 200):
        written = at_a_terminal(api_url, "job", "list", "--queue", "q" * 80, COLUMNS=str(columns), NO_COLOR="1")
        assert job_id in written
        assert max(len(STYLE.sub("", line)) for line in written.splitlines()) <= columns
    assert job_id in at_a_terminal(api_url, "job", "list", COLUMNS="30", NO_COLOR="1")


def test_colours_are_for_terminals_and_no_color_turns_them_off(api_url: str, client: Client) -> None:
    client.wait(client.submit("echo"), PATIENCE_S)
    assert "\x1b[32mcompleted" in at_a_terminal(api_url, "job", "list")
    assert "\x1b[3" not in at_a_terminal(api_url, "job", "list", NO_COLOR="1")
    command = [*HEGEMON, "job", "list"]
    piped = subprocess.run(command, capture_output=True, env=environment(api_url), timeout=PATIENCE_S, check=True)
    assert b"\x1b" not in piped.stdout
    assert not any(line.endswith(b" ") for line in piped.stdout.splitlines())


def test_help_loads_nothing_that_is_slow_to_load() -> None:
    heavy = ("httpx", "rich", "asyncio", "redis", "motor", "pymongo", "fastapi", "pydantic", "uvicorn")
    script = (
        "import sys\nfrom hegemon.cli.app import run\nrun(['--help'])\n"
        f"print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert ended.stderr == "[]\n"
