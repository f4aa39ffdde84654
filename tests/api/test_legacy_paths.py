"""The paths that older clients use answer like their twins: the same handlers behind the same table of access."""

import httpx
import pytest

from hegemon.api.app import OPERATIONS
from hegemon.api.legacy import TWINS, with_twins
from tests.api.secured import caller, open_secured
from tests.conftest import MongoServer

PATHS = {operation.path for operation in OPERATIONS}
SERVED = {path: twin for path, twin in TWINS.items() if twin in PATHS}
# The answer to a request that changes nothing may still differ in what changes by itself.
PASSING = {"date", "x-request-id", "ratelimit", "content-length"}


def test_all_older_paths_have_a_twin_that_is_served_or_will_be() -> None:
    assert set(SERVED) >= {"/jobs", "/jobs/{id}", "/workers", "/stats", "/ready"}
    assert {"/metrics", "/health"} <= PATHS


@pytest.mark.parametrize(("older", "twin"), SERVED.items())
def test_an_older_path_answers_like_its_twin(http: httpx.Client, job_id: str, older: str, twin: str) -> None:
    for method in ("GET", "HEAD", "DELETE", "PUT"):
        one, other = (http.request(method, path.format(id=job_id)) for path in (older, twin))
        if method == "DELETE" and "{id}" in older:
            assert one.json()["code"] == other.json()["code"] == "job_state_conflict"
        assert one.status_code == other.status_code, method
        assert {n: v for n, v in one.headers.items() if n not in PASSING} == {
            n: v for n, v in other.headers.items() if n not in PASSING
        }
        if one.status_code == 200 and method == "GET":
            assert one.json() == other.json()


def test_a_job_submitted_under_the_older_path_is_a_job(http: httpx.Client) -> None:
    answer = http.post("/jobs", json={"type": "echo"}, headers={"idempotency-key": "one"})
    assert answer.status_code == 201
    again = http.post("/api/v1/jobs", json={"type": "echo"}, headers={"idempotency-key": "one"})
    assert again.json()["id"] == answer.json()["id"]
    assert http.get(f"/jobs/{answer.json()['id']}").json()["id"] == answer.json()["id"]


def test_a_twin_that_is_not_served_has_no_older_path() -> None:
    assert with_twins({"/api/v1/jobs": 1}) == {"/api/v1/jobs": 1, "/jobs": 1}
    assert with_twins({"/jobs": 2, "/api/v1/jobs": 1})["/jobs"] == 2


async def test_the_table_of_access_holds_for_older_paths(mongo_server: MongoServer, database: str) -> None:
    async with open_secured(mongo_server.uri, database) as secured:
        for role in (None, "viewer", "worker", "user", "admin"):
            async with caller(secured, role) as client:
                for older, twin in SERVED.items():
                    for method in ("GET", "POST", "DELETE"):
                        paths = (older.format(id="x"), twin.format(id="x"))
                        one, other = [(await client.request(method, path)).status_code for path in paths]
                        assert one == other, (role, method, older)
                        if role is None and twin != "/readyz":
                            assert one in (401, 405)
