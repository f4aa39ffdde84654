"""The lab: a container engine, and on it the clusters of the compose files, one after the other.

`./dev compose-test` runs the tests marked `compose`, on each engine with each algorithm. Those of `./dev test` are the
short form: podman and Bully. That cluster has the fewest containers, and its election nothing that a slow machine
could repeat: the one node that is left leads.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hegemon.cluster.parentage import tied_to_parent
from tests.compose.cluster import NODES, Cluster, secrets_of
from tests.compose.engines import ENGINES, Engine
from tests.compose.lab import ROOT, UNAVAILABLE, LabError, held, lay_out, obstacle
from tests.own_network import OUTER_NETWORK

# A machine that computes on all cores keeps a leader waiting for longer than OFFICE_TAKEOVER's 300 ms now and then; the
# lab looks at containers, not at how soon a leader is missed.
NODE_SETTINGS = "HANDLERS=examples.jobs\nOFFICE_TAKEOVER=1500ms\nWORKER_LEASE=6s\n"
# Of another run that has the lab, and of mirrors: 45 s on an idle machine. Together less than faulthandler_timeout.
LOCK_S = 150
BUILD_S = 240


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test for each engine and, if it wants a cluster, for each algorithm; the short form for one of each."""
    engines, algorithms = ["podman"], ["bully"]
    if metafunc.definition.get_closest_marker("compose"):
        engines = (os.environ.get("COMPOSE_ENGINES") or " ".join(ENGINES)).split()
        algorithms = (os.environ.get("COMPOSE_ALGORITHMS") or " ".join(NODES)).split()
    if "cluster" in metafunc.fixturenames:
        metafunc.parametrize("cluster_of", algorithms, scope="module", indirect=True)
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", engines, scope="package", indirect=True)


@pytest.fixture(scope="package")
def compose_dir() -> Iterator[Path]:
    """The lab, for this process alone: the copy of compose/ that the engines use, after `compose/init`."""
    if reason := obstacle() or _no_network():
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(LOCK_S))
        except LabError as error:
            pytest.skip(str(error))
        place = lay_out()
        subprocess.run([place / "init"], check=True, capture_output=True)
        (place / "node.env").write_text(NODE_SETTINGS)
        yield place


def _no_network() -> str:
    network = os.environ.get(OUTER_NETWORK)
    if network and os.readlink(network) != os.readlink("/proc/thread-self/ns/net"):
        return ""
    return (
        "the container lab needs a network of its own, for the ports of the compose files: run where root may make "
        "one, and without REDIS_URL, MONGODB_URI and HEGEMON_TEST_URL"
    )


@pytest.fixture(scope="package")
def engine(request: pytest.FixtureRequest, compose_dir: Path) -> Iterator[Engine]:
    """An engine with its images built. Skips if what it is made of cannot be fetched; all else that fails is red."""
    if reason := _not_built(request.param):
        pytest.skip(reason)
    running = ENGINES[request.param]()
    try:
        running.prepare()
        yield running
    finally:
        running.stop()


def _not_built(engine: str) -> str:
    """Build what is not there yet, in the network that reaches mirrors; why that could not be done, or ""."""
    enter = [shutil.which("nsenter") or "nsenter", f"--net={os.environ[OUTER_NETWORK]}", "--"]
    command = tied_to_parent([*enter, sys.executable, "-m", "tests.compose.lab", "--held", engine])
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=BUILD_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"the container lab was not built within {BUILD_S} s: ./dev compose-test builds it without a limit"
    assert done.returncode in {0, UNAVAILABLE}, done.stderr
    return f"{done.stderr.strip()}\n./dev compose-test tries it again" if done.returncode else ""


@pytest.fixture(scope="module")
def cluster_of(request: pytest.FixtureRequest, engine: Engine, compose_dir: Path) -> Iterator[Cluster]:
    """A cluster brought up by the compose file of one algorithm, and taken down with all its data."""
    algorithm: str = request.param
    # What a run that was killed has left would have secrets that this one does not know.
    engine.wipe(algorithm)
    try:
        engine.up(algorithm)
        yield Cluster(engine, algorithm, secrets_of(compose_dir), compose_dir / "secrets" / "tls")
    finally:
        if os.environ.get("COMPOSE_KEEP_LOGS"):
            Path(os.environ["COMPOSE_KEEP_LOGS"], f"{engine.name}-{algorithm}.log").write_text(
                engine.compose(algorithm, "logs", check=False)
            )
        engine.wipe(algorithm)


@pytest.fixture
async def cluster(cluster_of: Cluster) -> AsyncIterator[Cluster]:
    """The cluster with its admin logged in, whole: each test leaves it as it found it."""
    async with cluster_of.logged_in() as ready:
        yield ready
