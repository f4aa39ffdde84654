"""The systemd unit under a systemd: installed with the commands of docs/operations.md, started, killed, stopped."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.compose.booted import DEBIAN, Booted, obstacle
from tests.compose.lab import ROOT, SHARED
from tests.conftest import MongoServer, RedisServer
from tests.nodes import free_port

pytestmark = pytest.mark.compose

PATIENCE_S = 120.0
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/lab/wheels", "PIP_ROOT_USER_ACTION": "ignore"}


def until(predicate: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not predicate():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.1)


class Service:
    """hegemon.service of a machine, and its API."""

    def __init__(self, machine: Booted, port: int) -> None:
        self.machine = machine
        self.port = port
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    def __getitem__(self, name: str) -> str:
        """A property of the unit."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", "hegemon").strip()

    def ready(self) -> bool:
        """What /readyz says."""
        try:
            return self.api.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def until_ready(self) -> None:
        """Wait for that."""
        try:
            until(self.ready, "the service to be ready")
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.journal()[-4000:]}") from None

    def journal(self) -> str:
        """What journald has of the unit's lines, over all its starts."""
        return self.machine.run("journalctl", "--unit=hegemon", "--output=cat", "--no-pager", "--quiet")

    def submit(self, type_: str, **payload: Any) -> str:
        """The id of a new job."""
        reply = self.api.post("/api/v1/jobs", json={"type": type_, "payload": payload}).raise_for_status()
        job: str = reply.json()["id"]
        return job

    def job(self, job: str) -> dict[str, Any]:
        """The job now."""
        found: dict[str, Any] = self.api.get(f"/api/v1/jobs/{job}").raise_for_status().json()
        return found

    def until_status(self, job: str, status: str) -> dict[str, Any]:
        """The job once it is so."""
        until(lambda: self.job(job)["status"] == status, f"the job to be {status}")
        return self.job(job)

    def do(self, verb: str) -> None:
        """Start, stop or restart it, as systemctl does."""
        self.machine.run("systemctl", verb, "hegemon")


def commands() -> list[str]:
    """The block of docs/operations.md that installs the unit."""
    (block,) = re.findall(r"^## Under systemd$.*?^```sh$(.*?)^```$", OPERATIONS, re.MULTILINE | re.DOTALL)
    return [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, mongo_server: MongoServer) -> Iterator[Service]:
    if reason := obstacle():
        pytest.skip(reason)
    if not DEBIAN.exists() or not (SHARED / "wheels").exists():
        pytest.skip("the lab is not built: ./dev compose-test builds it")
    ports = {name: free_port() for name in ("SERVER_PORT", "METRICS_PORT", "CLUSTER_PORT")}
    settings = {
        **ports,
        "NODE_ID": "n1",
        "CLUSTER_ID": "service",
        "MONGODB_DATABASE": "service",
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "HANDLERS": "examples.jobs",
        # The one that needs its directory.
        "ELECTION_ALGORITHM": "raft",
        "CLUSTER_SECRET": "0123456789abcdef0123456789abcdef",
        "CLUSTER_PEERS": f"n1@127.0.0.1:{ports['CLUSTER_PORT']}",
    }
    booted = Booted()
    try:
        made = Service(booted, ports["SERVER_PORT"])
        env = "".join(f"{name}={value}\n" for name, value in settings.items())
        (booted.shared / "repo" / "node.env").write_text(env)
        with made.api:
            for command in commands():
                booted.run("sh", "-eu", "-c", command, cwd="/lab/repo", environment=OFFLINE)
            yield made
    finally:
        booted.stop()


@pytest.fixture(autouse=True)
def running(service: Service) -> Service:
    """Each test begins with a node that is ready."""
    service.until_ready()
    return service


def test_what_the_manual_installs_runs_jobs_with_no_rights_of_its_own(service: Service) -> None:
    assert service.until_status(service.submit("echo", said="hello"), "completed")["result"] == {"said": "hello"}
    status = service.machine.run("cat", f"/proc/{service['MainPID']}/status")
    facts = dict(re.findall(r"^(\w+):\t(\S+)", status, re.MULTILINE))
    user = service.machine.run("id", "--user", "hegemon").strip()
    assert (facts["Uid"], facts["CapEff"], facts["CapBnd"]) == (user, "0" * 16, "0" * 16)
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


def test_its_term_and_vote_are_in_its_own_directory_and_its_lines_in_the_journal(service: Service) -> None:
    directory = service.machine.run("stat", "--format=%U %a", "/var/lib/hegemon").strip()
    assert directory == "hegemon 700"
    assert service.machine.run("stat", "--format=%U %a", "/var/lib/hegemon/raft/election.json") == "hegemon 600\n"
    lines = [json.loads(line) for line in service.journal().splitlines()]
    assert "node_started" in {line["event"] for line in lines}


def test_a_backup_is_made_with_the_units_settings_by_the_manuals_command(service: Service) -> None:
    (command,) = re.findall(r"^(systemd-run .*?[^\\])\n", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert "documents of cluster service" in service.machine.run("sh", "-c", command)
    written = service.machine.run("sh", "-c", "stat --format='%U %a' /var/lib/hegemon/*.backup")
    assert written == "hegemon 600\n"


def test_stop_lets_running_jobs_end_and_hands_the_office_over(service: Service) -> None:
    job = service.submit("sleep", seconds=3)
    service.until_status(job, "running")
    service.do("stop")
    assert (service["Result"], service["ExecMainStatus"], service["ActiveState"]) == ("success", "0", "inactive")
    last = [json.loads(line)["event"] for line in service.journal().splitlines()[-20:]]
    assert {"office_vacated", "node_stopped"} <= set(last)
    service.do("start")
    service.until_ready()
    assert service.until_status(job, "completed")["attempt"] == 1


def test_killed_it_starts_again_and_its_job_runs_again(service: Service) -> None:
    job = service.submit("sleep", seconds=2)
    service.until_status(job, "running")
    before = service["MainPID"]
    service.machine.run("kill", "-9", before)
    until(lambda: service["MainPID"] not in (before, "0"), "another process")
    assert service["NRestarts"] != "0"
    service.until_ready()
    assert service.until_status(job, "completed")["attempt"] == 2


def test_a_port_that_is_taken_is_tried_again_and_wrong_settings_are_not(service: Service) -> None:
    service.do("stop")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", service.port))
        taken.listen()
        service.do("start")
        until(lambda: int(service["NRestarts"]) >= 2, "two more tries")
        assert "cannot listen on" in service.journal()
    service.until_ready()
    drop_in = "/run/systemd/system/hegemon.service.d"
    service.machine.run("mkdir", "-p", drop_in)
    wrong = f"printf '[Service]\\nEnvironment=WORKER_COUNT=many\\n' >{drop_in}/wrong.conf; systemctl daemon-reload"
    service.machine.run("sh", "-c", wrong)
    service.do("restart")
    until(lambda: service["ActiveState"] == "failed", "it to be given up")
    assert (service["ExecMainStatus"], service["NRestarts"]) == ("2", "0")
    assert "WORKER_COUNT" in service.journal().splitlines()[-1]
    service.machine.run("sh", "-c", f"rm -r {drop_in}; systemctl daemon-reload")
    service.do("start")
