"""`hegemon up --secure` as a person meets it: what it prints is typed in, word for word, and works."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hegemon.cluster.local_plan import free_run
from tests.cli.test_up import Up
from tests.conftest import MongoServer, RedisServer

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    pytest.mark.skipif(not shutil.which("curl"), reason="needs curl"),
]


def tries(up: Up) -> list[str]:
    """The commands that it says to try."""
    lines = up.out.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("Try"))
    return [line.strip() for line in lines[begin + 1 : lines.index("", begin)]]


def password(up: Up) -> str | None:
    """The admin's, if it is shown."""
    return next((line.split()[1] for line in up.out.splitlines() if line.startswith("admin ")), None)


# What fails on a busy machine, since a node said 503 or nothing, is typed again; what is wrong fails each time.
AGAIN = """
curl() { command curl --fail --silent --show-error "$@"; }
typed() { tries=0; until eval "$1"; do tries=$((tries + 1)); [ $tries -lt 20 ] || exit 1; sleep 1; done; }
"""


def typed(up: Up, *commands: str) -> "subprocess.CompletedProcess[str]":
    """Type them into one shell, which ends at the first that fails for good; `hegemon` is the one under test."""
    tools = up.place / "tools"
    tools.mkdir(exist_ok=True)
    program = tools / "hegemon"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hegemon.cli "$@"\n')
    program.chmod(0o755)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HEGEMON_")}
    own = {"PATH": f"{tools}:{kept['PATH']}", "XDG_CONFIG_HOME": str(up.place / "config")}
    script = AGAIN + "\n".join(f"typed {shlex.quote(command)}" for command in commands)
    return subprocess.run(["sh", "-c", script], env=kept | own, text=True, capture_output=True, check=False)


def without_asking(commands: list[str], secret: str) -> list[str]:
    """As a person types them who has no terminal, and who does not watch for long."""
    changed = {
        "hegemon login admin": f"printf '%s\\n' '{secret}' | hegemon login admin --password-stdin",
        "hegemon cluster watch": "hegemon cluster watch --for 1ms",
    }
    assert "hegemon login admin" in commands
    return [changed.get(line, line) for line in commands]


@pytest.fixture
def start(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str
) -> Iterator[Callable[..., Up]]:
    stores = {"REDIS_URL": redis_server.url, "MONGODB_URI": mongo_server.uri, "MONGODB_DATABASE": database}
    ups: list[Up] = []

    def start_one(*args: str, nodes: int = 1, **environment: str) -> Up:
        options = ["--handlers", "own_jobs", "--data", "data", "--nodes", str(nodes), *args]
        own = {**stores, "CLUSTER_ID": cluster_id, "METRICS_PORT": "0", **environment}
        ups.append(Up(tmp_path / "up", *options, port=free_run(nodes), **own))
        return ups[-1]

    yield start_one
    for up in ups:
        up.close()


async def test_what_it_prints_is_true_word_for_word(start: Callable[..., Up]) -> None:
    up = start("--secure", "--algorithm", "bully", nodes=2)
    state = await up.ready()
    secret = password(up)
    assert secret is not None
    assert all(node["url"].startswith("https://") for node in state["nodes"])
    assert [line.split()[-1] for line in up.out.splitlines() if line.startswith("node-")].count("leader") == 1
    assert "jobs     noop, sleep" in up.out
    commands = without_asking(tries(up), secret)
    firsts = [line.split()[0] for line in commands]
    assert firsts == ["export", "printf", "hegemon", "hegemon", "TOKEN=$(hegemon", "curl"]
    ended = await asyncio.to_thread(typed, up, *commands, "echo", "hegemon audit verify")
    assert ended.returncode == 0, ended.stderr
    assert "completed" in ended.stdout
    assert '"cluster_id"' in ended.stdout
    assert "all as they were written" in ended.stdout
    assert await up.stop() == 0
    # Nothing keeps the password but its hash, and no log has it.
    for file in up.place.rglob("*"):
        if file.is_file() and file.name != "out":
            assert secret.encode() not in file.read_bytes(), file


async def test_a_second_start_shows_no_password_and_the_first_one_is_still_good(start: Callable[..., Up]) -> None:
    first = start("--secure")
    await first.ready()
    secret = password(first)
    assert secret is not None
    assert await first.stop() == 0
    again = start("--secure")
    await again.ready()
    assert password(again) is None
    come_in = without_asking(tries(again), secret)[:2]
    ended = await asyncio.to_thread(typed, again, *come_in, "hegemon whoami")
    assert (ended.returncode, "user:admin" in ended.stdout) == (0, True), ended.stderr


async def test_with_auth_enabled_alone_the_password_is_shown_here_and_stands_in_no_log(
    start: Callable[..., Up],
) -> None:
    up = start(AUTH_ENABLED="true", JWT_SECRET="5f0c3b9d2e7a4816b0d9c1f3a58e6274")
    await up.ready()
    secret = password(up)
    assert secret is not None
    assert "jobs     noop, sleep" in up.out
    assert secret not in (up.place / "data" / "logs" / "node-1.log").read_text()
    ended = await asyncio.to_thread(typed, up, *without_asking(tries(up), secret)[:2])
    assert (ended.returncode, "logged in as admin" in ended.stdout) == (0, True), ended.stderr


async def test_a_node_that_others_could_reach_without_credentials_does_not_start(start: Callable[..., Up]) -> None:
    up = start(SERVER_HOST="0.0.0.0")  # noqa: S104 -- to be refused
    assert await up.ended() == 1
    assert "AUTH_ENABLED=true" in up.err
    assert up.left() == {}
