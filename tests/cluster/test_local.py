"""What a local cluster decides before it starts anything: ports, settings, and whose its directory is."""

import fcntl
import random
import socket
from pathlib import Path

import pytest

from hegemon.cluster.local_directory import LocalDirectory
from hegemon.cluster.local_plan import LocalError, make_plan


@pytest.fixture(autouse=True)
def _no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_port(run: int = 1) -> int:
    """The first of so many free ports in a row, below those that connections are given."""
    while True:
        first = random.randrange(20_000, 30_000)
        if all(map(is_free, range(first, first + run))):
            return first


def test_a_taken_metrics_port_is_replaced_with_a_word_and_the_replacement_is_remembered() -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        environ = {"METRICS_PORT": str(taken)}
        plan = make_plan(environ, port=free_port(), handlers=None, remembered={})
        chosen = plan.ports[str(taken)]
        assert chosen != taken
        assert plan.notes == (f"Port {taken} is taken: the metrics of node-1 are on port {chosen}.",)
        assert plan.nodes[0].metrics_url == f"http://127.0.0.1:{chosen}/metrics"
    again = make_plan(environ, port=free_port(), handlers=None, remembered=plan.ports)
    assert again.ports == plan.ports


def test_nodes_never_share_a_port() -> None:
    first = free_port(run=6)
    plan = make_plan({"METRICS_PORT": str(first)}, port=first, handlers=None, remembered={}, nodes=3)
    ports = [node.environment["SERVER_PORT"] for node in plan.nodes] + [*map(str, plan.ports.values())]
    assert len(set(ports)) == 6


def test_only_the_directories_of_ended_runs_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended, live = tmp_path / "hegemon-up-ended", tmp_path / "hegemon-up-live"
    for path in (ended, live):
        path.mkdir()
        (path / "up.lock").touch()
    with (live / "up.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with LocalDirectory.open(None) as directory:
            assert sorted(tmp_path.iterdir()) == sorted([live, directory.path])
        assert [*tmp_path.iterdir()] == [live]


def test_a_data_path_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(LocalError, match=r"cannot use .*/data"):
        LocalDirectory.open(tmp_path / "data")


def test_a_given_redis_is_used_and_an_own_one_leaves_no_contradiction() -> None:
    given = make_plan(
        {"REDIS_ADDR": "127.0.0.1:1", "METRICS_PORT": "0"}, port=free_port(), handlers=None, remembered={}
    )
    assert given.redis_url == "redis://127.0.0.1:1/0"
    assert given.nodes[0].environment["REDIS_ADDR"] == "127.0.0.1:1"
    own = make_plan({"REDIS_DB": "3", "METRICS_PORT": "0"}, port=free_port(), handlers=None, remembered={})
    assert own.redis_url is None
    assert "REDIS_DB" not in own.nodes[0].environment


def test_metrics_without_a_port_of_their_own_are_under_the_apis_url() -> None:
    shared = make_plan({"METRICS_PORT": "0"}, port=free_port(), handlers=None, remembered={}).nodes[0]
    assert shared.metrics_url == f"{shared.url}/metrics"
    off = make_plan({"METRICS_ENABLED": "false"}, port=free_port(), handlers=None, remembered={}).nodes[0]
    assert off.metrics_url is None


def test_the_state_file_is_for_its_owner_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    with LocalDirectory.open(tmp_path / "data") as directory:
        state = directory.publish({"redis": {"url": "redis://:secret@127.0.0.1:1/0", "pid": None}})
        assert state == tmp_path / "data" / "cluster.json"
        assert state.stat().st_mode & 0o777 == 0o600
    assert not state.exists()
    assert (tmp_path / "data").is_dir()
