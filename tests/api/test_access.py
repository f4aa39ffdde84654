"""The table of access, row by row over HTTP: who may call what, for every operation that there is."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from hegemon.api.access import ACCESS, access_table
from hegemon.api.app import DESCRIPTION_PATH, OPERATIONS
from hegemon.api.legacy import TWINS
from hegemon.auth.roles import Role
from tests.api.guarded import Guarded, client_of, open_guarded
from tests.conftest import MongoServer

ROWS = sorted(ACCESS)
# What issue and design say, by hand: a slip in the table is a slip against this.
SUBMITTERS = {Role.WORKER, Role.USER, Role.ADMIN}
CHANGERS = {Role.USER, Role.ADMIN}
READERS = {Role.VIEWER, Role.USER, Role.ADMIN}
ADMIN_ONLY = (
    *("/api/v1/users", "/api/v1/keys", "/api/v1/tokens"),
    *("/api/v1/audit", "/api/v1/config", "/api/v1/logs"),
)


@pytest.fixture(scope="module")
def guarded(mongo_server: MongoServer, server_loop: asyncio.AbstractEventLoop) -> Iterator[Guarded]:
    database = f"test_access_{uuid.uuid4().hex[:12]}"
    opened = open_guarded(mongo_server.uri, database)

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, server_loop).result()

    node: Guarded = run(opened.__aenter__())
    yield node
    run(opened.__aexit__(None, None, None))
    with MongoClient[dict[str, Any]](mongo_server.uri) as client:
        client.drop_database(database)


@pytest.fixture(scope="module")
def http(guarded: Guarded) -> Iterator[httpx.Client]:
    with client_of(guarded) as client:
        yield client


def filled(path: str) -> str:
    return (
        path.replace("{id}", "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a")
        .replace("{name}", "nobody")
        .replace("{code}", "forbidden")
        # Who may have the stream is told that this is no place; its answer would not end.
        .replace("/stream", "/stream?after=nowhere")
    )


def test_every_operation_has_a_row_and_every_row_an_operation() -> None:
    served = {(operation.method, operation.path) for operation in OPERATIONS} | {("GET", DESCRIPTION_PATH)}
    assert served == set(ACCESS)


def test_the_table_grows_with_trust() -> None:
    for row, access in ACCESS.items():
        assert access.allows(Role.ADMIN), row
        if access.allows(Role.WORKER):
            assert access.allows(Role.USER), row


def test_what_changes_jobs_is_for_users_and_what_looks_behind_the_scenes_for_admins() -> None:
    for (method, path), access in ACCESS.items():
        if path.startswith(ADMIN_ONLY):
            assert access.roles == {Role.ADMIN}, path
        elif method != "GET" and path.startswith("/api/v1/") and not path.endswith("/step-down"):
            assert access.roles == (SUBMITTERS if path in ("/api/v1/jobs", "/api/v1/jobs/batch") else CHANGERS), path
        elif method == "GET" and path.startswith("/api/v1/") and not path.startswith("/api/v1/jobs"):
            assert access.roles == READERS, path


@pytest.mark.parametrize(("method", "path"), ROWS)
def test_each_role_may_do_what_its_row_says_and_nothing_else(
    http: httpx.Client, guarded: Guarded, method: str, path: str
) -> None:
    access = ACCESS[method, path]
    for role in (None, *Role):
        answer = http.request(method, filled(path), headers=guarded.as_role(role))
        code = answer.json().get("code") if answer.status_code >= 400 else None
        if access.public:
            assert answer.status_code not in (401, 403) or path.startswith("/auth/"), (role, answer.text)
        elif role is None:
            assert (answer.status_code, code) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        elif access.allows(role):
            assert answer.status_code not in (401, 403), (role, answer.text)
        else:
            assert (answer.status_code, code) == (403, "forbidden"), role


@pytest.mark.parametrize(("path", "twin"), [(path, twin) for path, twin in TWINS.items() if ("GET", twin) in ACCESS])
def test_older_paths_are_behind_the_same_door(http: httpx.Client, guarded: Guarded, path: str, twin: str) -> None:
    for role in (None, *Role):
        first, second = (http.get(filled(one), headers=guarded.as_role(role)).status_code for one in (path, twin))
        assert first == second


def test_a_method_without_a_row_is_refused_to_everybody(http: httpx.Client, guarded: Guarded) -> None:
    for role in (None, *Role):
        assert http.put("/api/v1/jobs", headers=guarded.as_role(role)).status_code in (401, 403, 405)
    assert http.head("/api/v1/jobs").status_code == 401
    assert http.head("/api/v1/users", headers=guarded.as_role(Role.USER)).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer nonsense"},
        {"authorization": "Basic YW5hOnBhc3N3b3Jk"},
        {"authorization": ""},
        {"x-api-key": "hgm_0123456789abcdef_" + 43 * "A"},
        {"x-api-key": "hgm_"},
        {"authorization": "Bearer " + "a." * 4_500},
    ],
)
def test_a_credential_that_nobody_gave_is_called_invalid(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = http.get("/api/v1/jobs", headers=headers)
    assert answer.status_code == 401, answer.text
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_the_table_in_the_documents_has_a_row_for_each_row() -> None:
    lines = access_table().splitlines()
    assert len(lines) == len(ACCESS) + 2
    assert "| POST | `/api/v1/jobs` |  |  | yes | yes | yes |" in lines
