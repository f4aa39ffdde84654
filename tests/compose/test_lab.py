"""The place where the lab is kept: one run at a time has it, and what is half made is made again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose import booted, lab
from tests.own_network import OUTER_NETWORK


@pytest.fixture(autouse=True)
def own_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lab, "LAB", tmp_path)
    monkeypatch.setattr(lab, "SHARED", tmp_path / "shared")
    return tmp_path


def test_who_finds_the_lab_in_use_waits_and_then_says_who_has_it_and_what_to_do() -> None:
    with (
        lab.held(patience=0),
        pytest.raises(lab.LabError, match=rf"process {os.getpid()} .* COMPOSE_LAB"),
        lab.held(patience=0),
    ):
        pass
    with lab.held(patience=0):
        pass


def test_what_is_made_of_other_things_or_was_not_finished_is_made_again(own_lab: Path) -> None:
    place = own_lab / "thing"
    made: list[str] = []

    def make(content: str, *, fails: bool = False) -> None:
        def into(new: Path) -> None:
            new.mkdir()
            if fails:
                raise lab.LabError("no mirror")
            made.append(content)

        lab._once(place, "a thing", content, into)

    make("one")
    make("one")
    make("two")
    with pytest.raises(lab.LabError, match="no mirror"):
        make("three", fails=True)
    make("three")
    assert made == ["one", "two", "three"]


def test_a_mirror_that_does_not_answer_is_told_from_a_fault_of_ours_by_the_exit_code(tmp_path: Path) -> None:
    if reason := lab.obstacle():
        pytest.skip(reason)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "debootstrap").write_text("#!/bin/sh\necho no such mirror >&2\nexit 1\n")
    (tools / "debootstrap").chmod(0o755)
    environment = {**os.environ, "COMPOSE_LAB": str(tmp_path / "lab"), "PATH": f"{tools}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "tests.compose.lab", "podman"]
    ended = subprocess.run(command, cwd=lab.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == lab.UNAVAILABLE, ended.stderr
    assert "no such mirror" in ended.stderr
    ended = subprocess.run(
        [*command, "no-engine"], cwd=lab.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode not in {0, lab.UNAVAILABLE}


def test_where_nothing_can_be_booted_that_is_said_and_the_other_tests_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(booted, "obstacle", lambda: "no cgroup2")
    booted.main()
    assert "nothing is booted: no cgroup2" in capsys.readouterr().err


def test_the_network_that_the_run_was_started_in_can_be_entered() -> None:
    network = os.environ.get(OUTER_NETWORK)
    if not network or shutil.which("nsenter") is None or os.geteuid() != 0:
        pytest.skip("networks of one's own are for root on Linux")
    command = ["nsenter", f"--net={network}", "--", "readlink", "/proc/self/ns/net"]
    entered = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert entered == os.readlink(network)
