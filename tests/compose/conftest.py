"""The lab: a container engine, and on it the clusters of the compose files, one after the other."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.compose.cluster import NODES, Cluster, secrets_of
from tests.compose.engines import ENGINES, Engine
from tests.compose.machine import LAB, lay_out, obstacle

CHOSEN = (os.environ.get("COMPOSE_ENGINES") or "docker podman").split()
# A machine that computes on all cores keeps a leader waiting for longer than OFFICE_TAKEOVER's 300 ms now and then; the
# lab looks at containers, not at how soon a leader is missed.
NODE_SETTINGS = "HANDLERS=examples.jobs\nOFFICE_TAKEOVER=1500ms\nWORKER_LEASE=6s\n"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test for each engine and, if it wants a cluster, for each algorithm."""
    if "cluster" in metafunc.fixturenames:
        chosen = (os.environ.get("COMPOSE_ALGORITHMS") or " ".join(NODES)).split()
        metafunc.parametrize("cluster_of", chosen, scope="module", indirect=True)
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", CHOSEN, scope="session", indirect=True)


@pytest.fixture(scope="session")
def compose_dir() -> Path:
    """The copy of compose/ that the engines use, after `compose/init`."""
    if reason := obstacle():
        pytest.skip(reason)
    if not (LAB / "engine").exists():
        pytest.skip("the lab is not built: ./dev compose-test builds it")
    if os.readlink("/proc/self/ns/net") == os.readlink(f"/proc/{os.getppid()}/ns/net"):
        pytest.skip("the ports of the compose files want a network of their own, which this process could not have")
    place = lay_out()
    subprocess.run([place / "init"], check=True, capture_output=True)
    (place / "node.env").write_text(NODE_SETTINGS)
    return place


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, compose_dir: Path) -> Iterator[Engine]:
    """An engine with its images built."""
    running = ENGINES[request.param]()
    try:
        running.prepare()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def cluster_of(request: pytest.FixtureRequest, engine: Engine, compose_dir: Path) -> Iterator[Cluster]:
    """A cluster brought up by the compose file of one algorithm, and taken down with all its data."""
    algorithm: str = request.param
    # What a run that was killed has left would have secrets that this one does not know.
    engine.compose(algorithm, "down", "--volumes", check=False)
    try:
        engine.up(algorithm)
        yield Cluster(engine, algorithm, secrets_of(compose_dir), compose_dir / "secrets" / "tls")
    finally:
        if os.environ.get("COMPOSE_KEEP_LOGS"):
            Path(os.environ["COMPOSE_KEEP_LOGS"], f"{engine.name}-{algorithm}.log").write_text(
                engine.compose(algorithm, "logs", check=False)
            )
        engine.compose(algorithm, "down", "--volumes", check=False)


@pytest.fixture
async def cluster(cluster_of: Cluster) -> AsyncIterator[Cluster]:
    """The cluster with its admin logged in, whole: each test leaves it as it found it."""
    async with cluster_of.logged_in() as ready:
        yield ready
