from http.client import HTTPConnection

import httpx
import pytest

from hegemon.api.server import ApiServer
from hegemon.cluster.algorithm_guide import GUIDE, NODES_MAX, advice, default_algorithm
from hegemon.cluster.ports import LeaderInfo
from hegemon.cluster.settings import all_settings, load
from hegemon.queue.errors import StoreUnavailable
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode
from tests.waiting import PATIENCE_S

ALGORITHMS = "/api/v1/election/algorithms"
STEP_DOWN = "/api/v1/election/step-down"


def test_members_show_what_the_election_and_the_registry_have_of_them(http: httpx.Client) -> None:
    members = http.get("/api/v1/election").json()["members"]
    assert [member["id"] for member in members] == ["n1", "n2"]
    assert members[0] == {
        "id": "n1",
        "health": "alive",
        "incarnation": 0,
        "address": "127.0.0.1:7946",
        "rank": None,
        "fit": True,
        "voter": True,
        "url": "http://n1",
        "version": None,
        "slots": 8,
        "load": 3,
        "types": ["a", "b"],
    }
    assert (members[1]["health"], members[1]["url"], members[1]["types"]) == ("dead", None, [])


def test_the_dead_are_members_of_the_cluster_but_do_not_count(http: httpx.Client) -> None:
    cluster = http.get("/api/v1/cluster").json()
    assert (len(cluster["members"]), cluster["node_count"]) == (2, 1)


@pytest.mark.parametrize("name", GUIDE)
def test_the_advice_is_for_the_present_number_of_nodes_unless_told_another(http: httpx.Client, name: str) -> None:
    assert http.get(f"{ALGORITHMS}/{name}").json()["nodes"] == 2
    told = http.get(f"{ALGORITHMS}/{name}?nodes=5").json()
    assert (told["nodes"], told["settings"]["ELECTION_ALGORITHM"]) == (5, name)


@pytest.mark.parametrize("name", ["solo", "paxos", "RAFT"])
def test_an_unknown_algorithm_is_not_found_and_the_known_are_named(http: httpx.Client, name: str) -> None:
    body = assert_problem(http.get(f"{ALGORITHMS}/{name}"), 404, "not_found")
    assert "bully, raft, gossip" in body["detail"]


@pytest.mark.parametrize("nodes", ["0", "-1", "1001", "three", "", "5.0"])
def test_a_number_of_nodes_that_cannot_be_is_refused(http: httpx.Client, nodes: str) -> None:
    assert_problem(http.get(f"{ALGORITHMS}/raft?nodes={nodes}"), 422, "invalid_parameter", "nodes")


def test_raft_tolerates_the_minority_and_the_others_all_but_one() -> None:
    assert [advice("raft", n).failures_tolerated for n in (1, 2, 3, 4, 5, 7)] == [0, 0, 1, 1, 2, 3]
    assert [advice("bully", n).failures_tolerated for n in (1, 2, 3)] == [0, 1, 2]


@pytest.mark.parametrize("name", GUIDE)
@pytest.mark.parametrize("nodes", [1, 2, 3, 7, 20, 100, NODES_MAX])
def test_every_recommended_setting_exists_and_the_settings_accept_them_together(name: str, nodes: int) -> None:
    told = advice(name, nodes)
    known = {setting.name for setting in all_settings()}
    raft = {"CLUSTER_SECRET": "x" * 32, "DATA_DIR": "/tmp/n1", "CLUSTER_PEERS": "n1@127.0.0.1:7946"}
    for settings in (told.settings, told.wan):
        assert settings.keys() <= known
        loaded = load({**settings, **(raft if name == "raft" else {})}, env_file=None)
        assert loaded.election.election_algorithm == name


def test_advice_that_does_not_suit_names_a_better_choice() -> None:
    assert not advice("raft", 2).suits
    assert any("bully" in note for note in advice("raft", 2).notes)
    assert any("gossip" in note for note in advice("bully", 50).notes)
    assert advice("raft", 3).suits


def test_up_takes_solo_for_one_bully_for_two_and_raft_from_three() -> None:
    assert [default_algorithm(n) for n in (1, 2, 3, 10)] == ["solo", "bully", "raft", "raft"]


@pytest.mark.parametrize(("body", "pause"), [(None, 10.0), ({}, 10.0), ({"pause": 2.5}, 2.5), ({"pause": 0}, 0.0)])
def test_the_leader_steps_down_for_the_pause_that_was_asked(
    http: httpx.Client, node: MemoryNode, body: dict[str, float] | None, pause: float
) -> None:
    answer = http.post(STEP_DOWN) if body is None else http.post(STEP_DOWN, json=body)
    assert answer.status_code == 202
    assert (answer.json()["is_leader"], node.pauses) == (False, [pause])


def test_a_post_that_announces_no_body_means_the_defaults_as_curl_sends_it(server: ApiServer, node: MemoryNode) -> None:
    connection = HTTPConnection(server.host, server.port, timeout=PATIENCE_S)
    connection.putrequest("POST", STEP_DOWN)
    connection.endheaders()
    assert connection.getresponse().status == 202
    connection.close()
    assert node.pauses == [10.0]


def test_another_node_refuses_and_names_the_leader(http: httpx.Client, node: MemoryNode) -> None:
    node.leads = False
    node.office = LeaderInfo("n2", 8, 2, "http://n2:8080")
    body = assert_problem(http.post(STEP_DOWN), 409, "not_leader")
    assert (body["leader_id"], body["leader_url"]) == ("n2", "http://n2:8080")
    assert "http://n2:8080" in body["detail"]
    node.office = LeaderInfo(None, 8, 2, None)
    body = assert_problem(http.post(STEP_DOWN), 409, "not_leader")
    assert (body["leader_id"], body["leader_url"]) == (None, None)
    assert node.pauses == []


@pytest.mark.parametrize("body", ['{"pause": -1}', '{"pause": 3601}', '{"pause": "10s"}', '{"wait": 1}', "[]"])
def test_a_wrong_pause_is_refused_and_nobody_steps_down(http: httpx.Client, node: MemoryNode, body: str) -> None:
    answer = http.post(STEP_DOWN, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert node.pauses == []


def test_a_store_that_is_away_hides_the_leader_from_a_step_down(http: httpx.Client, node: MemoryNode) -> None:
    node.failure = StoreUnavailable("MongoDB")
    assert_problem(http.post(STEP_DOWN), 503, "store_unavailable")
