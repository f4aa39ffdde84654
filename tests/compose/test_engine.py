"""What an engine makes of the compose files and of the Dockerfile before anything runs."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.compose.cluster import NODES
from tests.compose.engines import NODE_IMAGE, Engine
from tests.compose.lab import LabError

pytestmark = pytest.mark.compose

BASE = "docker.io/library/python:3.13.9-slim-trixie"


@pytest.mark.parametrize("algorithm", NODES)
def test_the_composer_takes_the_file_as_it_is(engine: Engine, algorithm: str) -> None:
    command = engine.machine.entered(*engine.composer, "-f", f"/lab/repo/compose/compose.{algorithm}.yml", "config")
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    # A warning, such as one of a variable that is not set, would stand there.
    assert (done.returncode, done.stderr) == (0, "")
    described = yaml.safe_load(done.stdout)
    assert set(described["services"]) >= {f"node-{number + 1}" for number in range(NODES[algorithm])}
    if engine.name == "podman":
        return  # podman-compose 1.3 shows the file before it has put in what is extended
    for name, service in described["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name


@pytest.mark.parametrize("algorithm", NODES)
def test_without_secrets_nothing_comes_up_and_it_is_said_what_to_do(engine: Engine, algorithm: str) -> None:
    bare = "rm -rf /lab/bare && mkdir /lab/bare && cp -r /lab/repo/compose /lab/bare && rm /lab/bare/compose/.env"
    engine.machine.run("sh", "-c", bare)
    with pytest.raises(LabError, match="run compose/init first"):
        engine.machine.run(*engine.composer, "-f", f"/lab/bare/compose/compose.{algorithm}.yml", "config")


OVERRIDE = """\
services:
  mongodb-init:
    build: {args: {PIP_NO_INDEX: "1"}, additional_contexts: {wheels: /lab/wheels}}
"""


def test_base_version_and_revision_can_be_given_through_the_compose_file(engine: Engine, compose_dir: Path) -> None:
    if engine.name != "docker":
        pytest.skip("podman-compose 1.3 merges no builds of two files")
    run, given = (
        engine.machine.run,
        {"BASE_IMAGE": "hegemon-lab/base:1", "HEGEMON_VERSION": "9.8.7", "REVISION": "0a1b2c"},
    )
    (compose_dir.parents[1] / "base").mkdir(exist_ok=True)
    (compose_dir.parents[1] / "base" / "Dockerfile").write_text(f"FROM {BASE}\nLABEL base=ours\n")
    (compose_dir.parents[1] / "offline.yml").write_text(OVERRIDE)
    run(engine.tool, "build", "--quiet", "--tag", given["BASE_IMAGE"], "/lab/base")
    files = ("-f", "/lab/repo/compose/compose.bully.yml", "-f", "/lab/offline.yml")
    run("env", *(f"{name}={value}" for name, value in given.items()), *engine.composer, *files, "build", "mongodb-init")
    config = engine.inspect("hegemon:9.8.7")["Config"]
    assert isinstance(config, dict)
    prefix = "org.opencontainers.image."
    assert config["Labels"][prefix + "version"] == "9.8.7"
    assert config["Labels"][prefix + "revision"] == "0a1b2c"
    assert config["Labels"]["base"] == "ours"


def test_the_image_is_slim_and_runs_as_nobody_special(engine: Engine) -> None:
    found = engine.inspect(NODE_IMAGE)
    config = found["Config"]
    assert isinstance(config, dict)
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["hegemon"]
    assert config["Cmd"] == ["node"]
    assert {name.rpartition(".")[2] for name in config["Labels"]} >= {"title", "licenses", "version", "revision"}
    # Docker and podman keep it in places of their own; its line in the Dockerfile stands in the history as well.
    assert "hegemon-healthcheck" in str({key: value for key, value in found.items() if key != "History"})
    base = engine.inspect(BASE)["Size"]
    size = found["Size"]
    assert isinstance(base, int)
    assert isinstance(size, int)
    # The packages and the code; what builds them stays behind.
    assert size - base < 150_000_000
    look = "ls /opt/hegemon/lib/python3*/site-packages; ls /build /wheels 2>&1; find / -xdev -perm /6000 -path '/opt/*'"
    listed = engine.machine.run(engine.tool, "run", "--rm", "--entrypoint", "sh", NODE_IMAGE, "-c", look, check=False)
    assert "hegemon" in listed
    assert not re.search(r"^(pip|hatchling|setuptools|pytest)\b", listed, re.MULTILINE)
