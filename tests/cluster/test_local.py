"""What a local cluster decides before it starts anything: ports, settings, and whose its directory is."""

import fcntl
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hegemon.cluster import local_plan
from hegemon.cluster.local_directory import LocalDirectory
from hegemon.cluster.local_plan import Home, LocalError, NodePlan, make_plan
from hegemon.cluster.settings import SettingsError, load
from tests.nodes import free_port

HOME = Home(Path("/data"), "s" * 64, {})


@pytest.fixture(autouse=True)
def _no_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_taken_metrics_port_is_replaced_with_a_word_and_the_replacement_is_remembered() -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        environ = {"METRICS_PORT": str(taken)}
        plan = make_plan(environ, HOME, port=free_port())
        chosen = plan.ports[str(taken)]
        assert chosen != taken
        assert plan.notes == (f"Port {taken} is taken: the metrics of node-1 are on port {chosen}.",)
        assert plan.nodes[0].metrics_url == f"http://127.0.0.1:{chosen}/metrics"
    # One of those that nobody else takes meanwhile.
    remembered = {str(taken): free_port()}
    assert make_plan(environ, replace(HOME, ports=remembered), port=free_port()).ports == remembered


def test_nodes_never_share_a_port() -> None:
    first = free_port(run=6)
    plan = make_plan({"METRICS_PORT": str(first)}, HOME, port=first, nodes=3)
    ports = [node.environment["SERVER_PORT"] for node in plan.nodes] + [*map(str, plan.ports.values())]
    assert len(set(ports)) == 9


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
    given = make_plan({"REDIS_ADDR": "127.0.0.1:1", "METRICS_PORT": "0"}, HOME, port=free_port())
    assert given.redis_url == "redis://127.0.0.1:1/0"
    assert given.nodes[0].environment["REDIS_ADDR"] == "127.0.0.1:1"
    own = make_plan({"REDIS_DB": "3", "METRICS_PORT": "0"}, HOME, port=free_port())
    assert own.redis_url is None
    assert "REDIS_DB" not in own.nodes[0].environment


def test_metrics_without_a_port_of_their_own_are_under_the_apis_url() -> None:
    shared = make_plan({"METRICS_PORT": "0"}, HOME, port=free_port()).nodes[0]
    assert shared.metrics_url == f"{shared.url}/metrics"
    off = make_plan({"METRICS_ENABLED": "false"}, HOME, port=free_port()).nodes[0]
    assert off.metrics_url is None


def test_the_state_file_is_for_its_owner_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    with LocalDirectory.open(tmp_path / "data") as directory:
        state = directory.publish({"redis": {"url": "redis://:secret@127.0.0.1:1/0", "pid": None}})
        assert state == tmp_path / "data" / "cluster.json"
        assert state.stat().st_mode & 0o777 == 0o600
    assert not state.exists()
    assert (tmp_path / "data").is_dir()


# -- several nodes -----------------------------------------------------------------------------------------------------


def election_of(node: NodePlan) -> dict[str, str]:
    return {name: text for name, text in node.environment.items() if name.startswith(("CLUSTER_", "ELECTION_", "DATA"))}


@pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
@pytest.mark.parametrize("nodes", [1, 3])
def test_every_node_of_several_knows_all_and_its_settings_are_accepted(algorithm: str, nodes: int) -> None:
    plan = make_plan({}, HOME, port=free_port(nodes), nodes=nodes, algorithm=algorithm)
    assert plan.algorithm == algorithm
    peers = {node.environment["CLUSTER_PEERS"] for node in plan.nodes}
    assert len(peers) == 1
    ports = [plan.ports[f"peer/{node.id}"] for node in plan.nodes]
    assert [*peers] == [",".join(f"{n.id}@127.0.0.1:{p}" for n, p in zip(plan.nodes, ports, strict=True))]
    for node, port in zip(plan.nodes, ports, strict=True):
        election = load(node.environment, env_file=None).election
        assert (election.election_algorithm, election.cluster_port) == (algorithm, port)
        assert election.data_dir == Path("/data") / node.id
        assert election.cluster_secret is not None
        assert election.cluster_secret.get_secret_value() == HOME.secret


def test_a_node_alone_leads_itself_without_peers_whatever_is_in_the_environment_beside_it() -> None:
    plan = make_plan({}, HOME, port=free_port())
    assert election_of(plan.nodes[0]) == {"ELECTION_ALGORITHM": "solo"}
    assert not [name for name in plan.ports if name.startswith("peer/")]


@pytest.mark.parametrize(("nodes", "expected"), [(1, "solo"), (2, "bully"), (3, "raft"), (10, "raft")])
def test_the_algorithm_follows_from_the_number_of_nodes_unless_something_names_it(nodes: int, expected: str) -> None:
    port = free_port(nodes)
    assert make_plan({}, HOME, port=port, nodes=nodes).algorithm == expected
    assert make_plan({"ELECTION_ALGORITHM": "gossip"}, HOME, port=port, nodes=nodes).algorithm == "gossip"
    Path(".env").write_text("ELECTION_ALGORITHM=bully\nCLUSTER_PEERS=a@10.0.0.1:1\n")
    assert make_plan({}, HOME, port=port, nodes=nodes).algorithm == "bully"
    named = {"ELECTION_ALGORITHM": "raft"}
    assert make_plan(named, HOME, port=port, nodes=nodes, algorithm="bully").algorithm == "bully"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"algorithm": "paxos"}, "--algorithm paxos: it must be one of solo, bully, raft, gossip"),
        ({"algorithm": "solo", "nodes": 3}, "solo is one node that leads itself; 3 nodes need bully"),
    ],
)
def test_an_algorithm_that_cannot_lead_so_many_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(LocalError, match=says):
        make_plan({}, HOME, port=free_port(3), **options)


def test_a_secret_that_is_too_short_is_refused_before_anything_starts() -> None:
    with pytest.raises(SettingsError, match="CLUSTER_SECRET"):
        make_plan({"CLUSTER_SECRET": "short"}, HOME, port=free_port(3), nodes=3)


def test_the_ports_of_the_nodes_traffic_are_kept_while_they_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of those that `hegemon up` draws from by itself, another test may take one meanwhile.
    drawn = 200
    lowest = free_port(drawn)
    monkeypatch.setattr(local_plan, "_PEER_PORTS", range(lowest, lowest + drawn))
    first = make_plan({"METRICS_PORT": "0"}, HOME, port=free_port(3), nodes=3)
    again = make_plan({"METRICS_PORT": "0"}, replace(HOME, ports=first.ports), port=free_port(3), nodes=3)
    assert again.ports == first.ports
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", first.ports["peer/node-2"]))
        moved = make_plan({"METRICS_PORT": "0"}, replace(HOME, ports=first.ports), port=free_port(3), nodes=3)
    assert moved.ports["peer/node-1"] == first.ports["peer/node-1"]
    assert moved.ports["peer/node-2"] != first.ports["peer/node-2"]


def test_the_secret_of_a_directory_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    with LocalDirectory.open(tmp_path / "data") as directory:
        secret = directory.home().secret
    path = tmp_path / "data" / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with LocalDirectory.open(tmp_path / "data") as directory:
        assert directory.home().secret == secret
    assert len(secret) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("")
    with LocalDirectory.open(tmp_path / "data") as directory, pytest.raises(LocalError, match="remove it"):
        directory.home()
