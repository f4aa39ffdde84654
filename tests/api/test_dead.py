from typing import Any

import httpx
import pytest

from hegemon.cluster.ports import DeadFilter
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode

DEAD = "/api/v1/dead"


@pytest.fixture
def dead(http: httpx.Client, node: MemoryNode) -> list[str]:
    """Three dead letters, a in q, a in r and b in r, beside a live job."""
    jobs = [{"type": "a", "queue": "q"}, {"type": "a", "queue": "r"}, {"type": "b", "queue": "r"}, {"type": "a"}]
    ids: list[str] = http.post("/api/v1/jobs/batch", json={"jobs": jobs}).json()["ids"]
    for job_id in ids[:3]:
        node.break_down(job_id)
    return ids[:3]


def test_dead_letters_are_the_failed_jobs(http: httpx.Client, dead: list[str]) -> None:
    def found(**query: str) -> list[str]:
        return [job["id"] for job in http.get(DEAD, params=query).json()["jobs"]]

    assert found() == dead[::-1]
    assert found(type="a") == [dead[1], dead[0]]
    assert found(type="a", queue="r") == [dead[1]]
    page = http.get(DEAD, params={"limit": "2"}).json()
    assert found(cursor=page["next_cursor"]) == [dead[0]]


def test_dead_letters_have_no_other_status(http: httpx.Client) -> None:
    assert_problem(http.get(DEAD, params={"status": "completed"}), 422, "invalid_parameter", "status")


@pytest.mark.parametrize("action", ["requeue", "purge"])
@pytest.mark.parametrize(
    ("selection", "count"),
    [({"all": True}, 3), ({"type": "a"}, 2), ({"queue": "r"}, 2), ({"type": "a", "queue": "r"}, 1), ({"type": "x"}, 0)],
)
def test_only_what_was_named_is_touched(
    http: httpx.Client, dead: list[str], action: str, selection: Any, count: int
) -> None:
    answer = http.post(f"{DEAD}/{action}", json=selection)
    assert (answer.status_code, answer.json()) == (200, {"count": count})
    assert len(http.get(DEAD).json()["jobs"]) == 3 - count


@pytest.mark.parametrize("action", ["requeue", "purge"])
def test_ids_are_touched_once_and_what_cannot_be_one_is_passed_over(
    http: httpx.Client, node: MemoryNode, dead: list[str], action: str
) -> None:
    answer = http.post(f"{DEAD}/{action}", json={"ids": [dead[0], dead[0], "nonsense", ""]})
    assert answer.json() == {"count": 1}
    assert node.asked[-1] == DeadFilter(ids=[dead[0]])


def test_ids_none_of_which_can_be_one_touch_nothing(http: httpx.Client, node: MemoryNode, dead: list[str]) -> None:
    assert http.post(f"{DEAD}/purge", json={"ids": ["nonsense"]}).json() == {"count": 0}
    assert not node.asked, "an empty list must not reach a port that takes no list for every dead letter"
    assert len(http.get(DEAD).json()["jobs"]) == len(dead)


@pytest.mark.parametrize(
    ("selection", "field"),
    [
        ({}, None),
        ({"all": False}, None),
        ({"all": True, "type": "a"}, None),
        ({"all": True, "ids": ["x"]}, None),
        ({"ids": ["x"], "queue": "q"}, None),
        ({"ids": []}, "ids"),
        ({"ids": ["x"] * 1001}, "ids"),
        ({"ids": [1]}, "ids[0]"),
        ({"all": "yes"}, "all"),
        ({"type": "a b"}, "type"),
        ({"everything": True}, "everything"),
    ],
)
def test_a_selection_that_does_not_say_which_touches_nothing(
    http: httpx.Client, dead: list[str], selection: Any, field: str | None
) -> None:
    for action in ("requeue", "purge"):
        assert_problem(http.post(f"{DEAD}/{action}", json=selection), 422, "invalid_parameter", field)
    assert len(http.get(DEAD).json()["jobs"]) == len(dead)


def test_an_empty_selection_is_told_how_to_mean_all(http: httpx.Client) -> None:
    assert '"all": true' in http.post(f"{DEAD}/purge", json={}).json()["detail"]
    response = http.post(f"{DEAD}/purge", content=b"", headers={"Content-Type": "application/json"})
    assert_problem(response, 400, "malformed_json")
