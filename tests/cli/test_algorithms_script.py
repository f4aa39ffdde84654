"""scripts/test-algorithms.sh: one whole run on this machine, and what --compose says when something is missing.

A run on containers is the lab's (tests/compose/test_algorithms_script.py).
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hegemon.cluster.local_plan import free_run
from tests.cli.test_up import bare_environment
from tests.conftest import MongoServer, RedisServer
from tests.waiting import PATIENCE_S

SCRIPT = Path(__file__).parents[2] / "scripts" / "test-algorithms.sh"
TOOLS = ("bash", "cat", "curl", "dirname", "env", "grep", "head", "jq", "mktemp", "rm", "sed", "tail")

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq: apt-get install curl jq"
)


def test_a_run_of_local_nodes_has_a_row_in_which_no_job_is_lost(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str
) -> None:
    stores = {"REDIS_URL": redis_server.url, "MONGODB_URI": mongo_server.uri, "MONGODB_DATABASE": database}
    size = {"NODES": "2", "JOBS": "10", "CALM": "0", "PATIENCE": f"{PATIENCE_S:g}", "PORT": str(free_run(2))}
    # The hegemon of these tests, where there is no .venv.
    more = {
        "CLUSTER_ID": cluster_id,
        "TMPDIR": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    running = subprocess.Popen(
        [SCRIPT, "--local", "bully"],
        env=bare_environment() | stores | size | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = running.communicate(timeout=4 * PATIENCE_S)
    finally:
        # It ends its cluster by itself. All else would be its children's, which are of its group.
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert (running.returncode, err) == (0, ""), out
    head, row = (line.split() for line in out.splitlines())
    assert head == [
        "ALGORITHM",
        "CLUSTER",
        "NEEDLESS",
        "STEP-DOWN",
        "PAUSE",
        "CUT",
        "KILL",
        "-9",
        "COMPLETED",
        "RESULT",
    ]
    # How long each fault took is another run's to say; here each had an end.
    assert row[:3] == ["bully", "2", "nodes"]
    assert row[3].isdigit()
    step_down, pause, cut, kill = row[4:6], row[6:8], row[8], row[9:11]
    assert {took[1] for took in (step_down, pause, kill)} == {"ms"}
    assert all(took[0].isdigit() for took in (step_down, pause, kill))
    assert cut == "-"
    assert row[11:] == ["10/10", "ok"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The script with a compose directory after `compose/init`, and a machine with nothing but a few tools."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "compose" / "secrets" / "tls").mkdir(parents=True)
    (tmp_path / "compose" / "secrets" / "tls" / "ca.pem").touch()
    (tmp_path / "compose" / ".env").write_text("ADMIN_PASSWORD=x\n")
    (tmp_path / "compose" / "node.env").write_text("HANDLERS=examples.jobs\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    return tmp_path


@pytest.fixture
def docker(place: Path) -> Iterator[Path]:
    """An engine on which one cluster runs; it does nothing, and writes down what it was asked."""
    engine = place / "bin" / "docker"
    engine.write_text(
        f'#!/bin/sh\necho "$*" >> {place}/asked\n'
        'case "$*" in "ps "*) printf "%s\\n" other hegemon-raft-node-1-1 ;; esac\n'
    )
    engine.chmod(0o755)
    yield engine
    # Whatever was wrong, nothing was begun.
    asked = (place / "asked").read_text() if (place / "asked").exists() else ""
    assert " up" not in asked
    assert " down" not in asked


def compose(place: Path, *args: str) -> str:
    """What it says when it refuses."""
    ended = subprocess.run(
        [place / "scripts" / SCRIPT.name, "--compose", *args],
        env={"PATH": str(place / "bin"), "TMPDIR": str(place / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert not list((place / "tmp").iterdir())
    return ended.stderr


def test_without_an_engine_it_says_what_else_there_is(place: Path) -> None:
    assert "there is no docker: install it, name the other with --engine, or use --local" in compose(place)
    assert "there is no podman" in compose(place, "--engine", "podman", "raft")
    assert "--engine is docker or podman" in compose(place, "--engine", "lxc")


@pytest.mark.parametrize("missing", [".env", "node.env", "secrets/tls/ca.pem"])
def test_before_compose_init_it_says_to_run_it(place: Path, docker: Path, missing: str) -> None:
    (place / "compose" / missing).unlink()
    assert f"there is no compose/{missing}: run compose/init first" in compose(place)


def test_jobs_that_no_node_would_handle_are_not_submitted(place: Path, docker: Path) -> None:
    (place / "compose" / "node.env").write_text("HANDLERS=shop.jobs\n")
    assert "lacks examples.jobs" in compose(place)


def test_a_cluster_that_runs_is_left_alone(place: Path, docker: Path) -> None:
    assert "hegemon-raft-node-1-1 runs, on the ports that this needs" in compose(place)


def test_an_engine_that_does_not_answer_is_quoted(place: Path, docker: Path) -> None:
    docker.write_text('#!/bin/sh\ncase "$*" in info) echo "no daemon" >&2; exit 1 ;; esac\n')
    assert "docker does not answer: no daemon" in compose(place)
    docker.write_text('#!/bin/sh\necho "docker: compose is not a docker command" >&2; exit 1\n')
    assert "docker compose does not work: docker: compose is not" in compose(place)


# In place of curl: two nodes of which one leads, and after each fault the other. A token is good for so many requests,
# more than one fault takes, and fewer than all.
FAKE_CURL = """
import json, pathlib, sys
place, uses = pathlib.Path(sys.argv[1]), 40
arguments = sys.argv[2:]
url, method = arguments[-1], arguments[arguments.index("-X") + 1]
options = pathlib.Path(arguments[arguments.index("-K") + 1]).read_text()
if 'noproxy = "127.0.0.1"' not in options:
    sys.exit("curl: (5) no such proxy")
path = url.partition(":8")[2].partition("/")[2]
spent = place / "spent"
if path == "auth/login":
    spent.write_text("")
    (place / "logins").open("a").write("one\\n")
    print(json.dumps({"access_token": "a-token"}))
elif "Bearer a-token" not in options or len(spent.read_text()) >= uses:
    sys.exit("curl: (22) 401")
else:
    spent.open("a").write(".")
    if path == "readyz" and (place / "sick").exists():
        sys.exit("curl: (22) 503")
    elif path == "api/v1/election":
        epoch = len((place / "faults").read_text().split())
        print(json.dumps({"active": f":808{epoch % 2}/" in url, "epoch": epoch, "node_id": "node-1"}))
    elif path == "api/v1/election/step-down":
        (place / "faults").open("a").write("step-down\\n")
    else:
        print(json.dumps({"id": "a-job", "status": "completed"}))
"""
FAKE_ENGINE = """#!/bin/sh
case "$*" in
pause* | kill* | "network disconnect"*) echo "$1" >>PLACE/faults ;;
"ps --all"*) echo a-container ;;
esac
"""


@pytest.fixture
def faked(place: Path) -> Path:
    """The place, with an engine and nodes that are none."""
    for tool in ("cp", "cut", "mkdir", "sleep", "sort", "wc", "date"):
        (place / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    (place / "compose" / "compose.raft.yml").write_text("    hostname: node-1\n    hostname: node-2\n")
    (place / "faults").write_text("start\n")
    (place / "bin" / "curl").unlink()
    (place / "fake_curl.py").write_text(FAKE_CURL)
    for tool, text in (
        ("curl", f'#!/bin/sh\nexec {sys.executable} -S {place}/fake_curl.py {place} "$@"\n'),
        ("docker", FAKE_ENGINE.replace("PLACE", str(place))),
    ):
        (place / "bin" / tool).write_text(text)
        (place / "bin" / tool).chmod(0o755)
    return place


def run_faked(place: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [place / "scripts" / SCRIPT.name, "--compose", "raft"],
        env={
            "PATH": str(place / "bin"),
            "TMPDIR": str(place / "tmp"),
            "JOBS": "5",
            "CALM": "0",
            "PATIENCE": f"{PATIENCE_S:g}" if not (place / "sick").exists() else "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_on_containers_outlives_its_login_and_asks_no_proxy(faked: Path) -> None:
    ended = run_faked(faked)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1].split()[-2:] == ["5/5", "ok"]
    assert (faked / "faults").read_text().split() == ["start", "step-down", "pause", "network", "kill"]
    assert len((faked / "logins").read_text().split()) > 1
    assert list((faked / "tmp").iterdir()) == []


def test_what_is_kept_of_a_run_that_failed_has_nothing_to_log_in_with(faked: Path) -> None:
    (faked / "sick").touch()
    ended = run_faked(faked)
    assert ended.returncode == 1
    assert "nobody leads" in ended.stdout
    (kept,) = (faked / "tmp").iterdir()
    assert f"what the nodes wrote: {kept}" in ended.stderr
    found = [path.name for path in kept.rglob("*") if path.is_file()]
    assert "hegemon-test-raft.log" in found
    assert not {"login", "token", "curlrc"} & set(found)
