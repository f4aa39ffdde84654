"""The election's settings: what an algorithm needs, what nodes tell each other, what the electors are given."""

import socket

import pytest

from hegemon.cluster.settings import SettingsError, load
from hegemon.cluster.slices import election_timing
from hegemon.cluster.witness import REACH_S, TRUTH_HOLDING_S

SECRET = "hunter2-and-thirty-two-bytes-long"
RAFT = {
    "ELECTION_ALGORITHM": "raft", "CLUSTER_SECRET": SECRET, "DATA_DIR": "/var/lib/hegemon",
    "CLUSTER_PEERS": "n1@10.0.0.1:7946,n2@10.0.0.2:7946",
}  # fmt: skip


def told(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(environ, None)
    return caught.value.problems


@pytest.mark.parametrize(
    ("environ", "advertised"),
    [
        ({}, "127.0.0.1:7946"),
        ({"CLUSTER_HOST": "::1", "CLUSTER_PORT": "7000"}, "[::1]:7000"),
        ({"CLUSTER_HOST": "::", "CLUSTER_ADVERTISE": "node1.example:7001"}, "node1.example:7001"),
        ({"CLUSTER_HOST": "::"}, f"{socket.gethostname()}:7946"),
    ],
)
def test_a_node_tells_others_an_address_that_they_can_use(environ: dict[str, str], advertised: str) -> None:
    assert load(environ, None).election.advertised == advertised


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"ELECTION_ALGORITHM": "bully", "CLUSTER_HOST": "::"},
            "beyond this machine the nodes' traffic needs CLUSTER_SECRET",
        ),
        ({"ELECTION_ALGORITHM": "gossip", "CLUSTER_PORT": "8080"}, "CLUSTER_PORT must differ from SERVER_PORT"),
        (RAFT | {"CLUSTER_SECRET": ""}, "raft needs CLUSTER_SECRET"),
        (RAFT | {"DATA_DIR": ""}, "raft needs DATA_DIR"),
        (RAFT | {"CLUSTER_PEERS": ""}, "raft needs CLUSTER_PEERS to name all voters"),
        (RAFT | {"CLUSTER_PEERS": "n1@h:1,h:2"}, "raft needs CLUSTER_PEERS to name all voters"),
    ],
)
def test_what_an_algorithm_needs_is_asked_for(environ: dict[str, str], sentence: str) -> None:
    (problem,) = told(environ)
    assert f": {sentence}" in problem


def test_raft_with_all_that_it_needs_is_accepted() -> None:
    assert load(RAFT, None).election.election_algorithm == "raft"


def test_the_electors_periods_follow_the_settings() -> None:
    environ = {
        "ELECTION_HEARTBEAT": "1s",
        "ELECTION_TIMEOUT": "30s",
        "ELECTION_INTERVAL": "5s",
        "OFFICE_TAKEOVER": "2s",
    }
    timing = election_timing(load(environ, None))
    assert (timing.heartbeat_s, timing.silence_s, timing.timeout_s, timing.interval_s) == (1.0, 3.5, 30.0, 5.0)
    assert (timing.witness_s, timing.member_witness_s) == (2.0, 1.75)


def test_a_leader_without_a_store_gives_up_three_seconds_after_the_cut() -> None:
    """The witness tells REACH_S after the last answer, which came one look before the cut or later."""
    assert election_timing(load({}, None)).unfit_s == pytest.approx(3.0 + TRUTH_HOLDING_S - REACH_S)


@pytest.mark.parametrize(("takeover", "raft_s"), [("300ms", 0.35), ("6s", 6.0)])
def test_raft_misses_its_leader_no_sooner_than_the_office_could_be_taken(takeover: str, raft_s: float) -> None:
    assert election_timing(load(RAFT | {"OFFICE_TAKEOVER": takeover}, None)).silence_s == pytest.approx(raft_s)
    assert election_timing(load({"OFFICE_TAKEOVER": takeover}, None)).silence_s == pytest.approx(0.35)
