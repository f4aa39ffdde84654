"""Logging in and managing users, keys and tokens over HTTP, and jobs as callers see them who have some queues only."""

import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from hegemon.api.rate_limits import RateLimits
from hegemon.auth.errors import LoginsBusy
from hegemon.auth.login_throttle import LoginThrottle
from hegemon.auth.roles import Role
from hegemon.cluster.limit_settings import Rate
from tests.api.documented import check
from tests.api.guarded import Guarded, open_guarded
from tests.auth.parts import PASSWORD
from tests.conftest import MongoServer
from tests.waiting import PATIENCE_S

JOB = {"type": "echo", "payload": {"n": 1}}


async def checked(response: httpx.Response) -> None:
    await response.aread()
    check(response)


@pytest.fixture
async def guarded(mongo_server: MongoServer, database: str) -> AsyncIterator[Guarded]:
    async with open_guarded(mongo_server.uri, database) as opened:
        yield opened


@pytest.fixture
async def http(guarded: Guarded) -> AsyncIterator[httpx.AsyncClient]:
    """A stranger's client whose every answer is held against the OpenAPI description."""
    hooks: dict[str, list[Any]] = {"response": [checked]}
    async with httpx.AsyncClient(
        base_url=guarded.url, timeout=PATIENCE_S, event_hooks=hooks, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def admin(http: httpx.AsyncClient, guarded: Guarded) -> dict[str, str]:
    return guarded.as_role(Role.ADMIN)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_user_logs_in_works_refreshes_and_logs_out(http: httpx.AsyncClient, admin: dict[str, str]) -> None:
    made = await http.post("/api/v1/users", json={"name": "ana", "password": PASSWORD, "role": "user"}, headers=admin)
    assert made.status_code == 201
    assert PASSWORD not in made.text
    assert "argon2" not in made.text
    login = await http.post("/auth/login", json={"username": "ana", "password": PASSWORD})
    pair = login.json()
    assert (login.status_code, pair["role"], pair["token_type"], pair["expires_in"]) == (200, "user", "Bearer", 600)
    assert login.headers["cache-control"] == "no-store"
    me = (await http.get("/auth/me", headers=bearer(pair["access_token"]))).json()
    assert (me["id"], me["role"], me["queues"]) == ("user:ana", "user", None)
    job = await http.post("/api/v1/jobs", json=JOB, headers=bearer(pair["access_token"]))
    shown = await http.get(job.headers["location"], headers=bearer(pair["access_token"]))
    assert shown.json()["scope"] == "user:ana"
    following = (await http.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})).json()
    assert (await http.post("/auth/logout", headers=bearer(following["access_token"]))).status_code == 204
    for token in (pair["access_token"], following["access_token"]):
        answer = await http.get("/auth/me", headers=bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    again = await http.post("/auth/refresh", json={"refresh_token": following["refresh_token"]})
    assert again.status_code == 401


async def test_wrong_credentials_are_refused_in_the_same_words(http: httpx.AsyncClient) -> None:
    answers = [
        await http.post("/auth/login", json={"username": name, "password": "wrong"}) for name in ("admin", "nobody")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert all(answer.headers["www-authenticate"] for answer in answers)


async def test_a_user_is_changed_by_whoever_has_seen_their_present_state(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    made = await http.post("/api/v1/users", json={"name": "ana", "password": PASSWORD, "role": "user"}, headers=admin)
    seen = made.headers["etag"]
    path = made.headers["location"]
    assert (await http.get(path, headers=admin)).headers["etag"] == seen
    bare = await http.patch(path, json={"disabled": True}, headers=admin)
    assert (bare.status_code, bare.json()["code"]) == (428, "precondition_required")
    first = await http.patch(path, json={"role": "viewer", "queues": ["mail"]}, headers={**admin, "if-match": seen})
    assert (first.status_code, first.json()["role"], first.json()["queues"]) == (200, "viewer", ["mail"])
    for late in (seen, "nonsense", '"1"'):
        second = await http.patch(path, json={"disabled": True}, headers={**admin, "if-match": late})
        assert (second.status_code, second.json()["code"]) == (412, "precondition_failed")
    gone = await http.delete(path, headers={**admin, "if-match": first.headers["etag"]})
    assert gone.status_code == 204
    assert (await http.get(path, headers=admin)).json()["code"] == "user_not_found"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "ana", "password": "short", "role": "user"},
        {"name": "Ana", "password": PASSWORD, "role": "user"},
        {"name": "ana", "password": PASSWORD, "role": "root"},
        {"name": "ana", "password": PASSWORD, "role": "user", "queues": []},
        {"name": "ana", "password": PASSWORD, "role": "admin", "queues": ["mail"]},
        {"name": "ana", "password": PASSWORD, "role": "user", "hash": "x"},
    ],
)
async def test_a_user_that_cannot_be_is_refused(
    http: httpx.AsyncClient, admin: dict[str, str], body: dict[str, Any]
) -> None:
    answer = await http.post("/api/v1/users", json=body, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_user")


async def test_a_key_is_shown_once_works_in_both_headers_and_ends_when_it_is_revoked(
    http: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    made = (await http.post("/api/v1/keys", json={"name": "shop", "role": "worker"}, headers=admin)).json()
    listed = await http.get("/api/v1/keys", headers=admin)
    assert made["key"] not in listed.text
    assert made["key"].split("_", 2)[2] not in listed.text
    for headers in ({"x-api-key": made["key"]}, bearer(made["key"])):
        assert (await http.get("/auth/me", headers=headers)).json()["id"] == f"key:{made['id']}"
    assert (await http.delete(f"/api/v1/keys/{made['id']}", headers=admin)).status_code == 204
    assert (await http.get("/auth/me", headers={"x-api-key": made["key"]})).status_code == 401
    assert (await http.delete(f"/api/v1/keys/{made['id']}", headers=admin)).json()["code"] == "key_not_found"


async def test_a_service_token_is_good_until_it_is_revoked(http: httpx.AsyncClient, admin: dict[str, str]) -> None:
    body = {"name": "shop", "role": "worker", "ttl": 60, "queues": ["mail"]}
    issued = (await http.post("/api/v1/tokens", json=body, headers=admin)).json()
    me = (await http.get("/auth/me", headers=bearer(issued["token"]))).json()
    assert (me["id"], me["queues"]) == ("service:shop", ["mail"])
    assert (await http.delete(f"/api/v1/tokens/{issued['id']}", headers=admin)).status_code == 204
    assert (await http.get("/auth/me", headers=bearer(issued["token"]))).status_code == 401
    too_long = await http.post("/api/v1/tokens", json={**body, "ttl": 86_401}, headers=admin)
    assert too_long.json()["code"] == "invalid_user"


async def test_a_caller_with_some_queues_sees_and_changes_only_what_is_in_them(
    http: httpx.AsyncClient, admin: dict[str, str], guarded: Guarded
) -> None:
    issued = await http.post(
        "/api/v1/tokens", json={"name": "mailer", "role": "user", "queues": ["mail"]}, headers=admin
    )
    mailer = bearer(issued.json()["token"])
    other = (await http.post("/api/v1/jobs", json={**JOB, "queue": "bank"}, headers=admin)).json()["id"]
    own = (await http.post("/api/v1/jobs", json={**JOB, "queue": "mail"}, headers=mailer)).json()["id"]
    for job in ({**JOB, "queue": "bank"}, JOB):
        answer = await http.post("/api/v1/jobs", json=job, headers=mailer)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (403, "forbidden", "queue")
    batch = {"jobs": [{**JOB, "queue": "mail"}, {**JOB, "queue": "bank"}]}
    refused = await http.post("/api/v1/jobs/batch", json=batch, headers=mailer)
    assert (refused.status_code, refused.json()["field"]) == (403, "jobs[1].queue")
    assert {job["id"] for job in (await http.get("/api/v1/jobs", headers=mailer)).json()["jobs"]} == {own}
    assert (await http.get("/api/v1/jobs?queue=bank", headers=mailer)).json()["jobs"] == []
    assert (await http.get(f"/api/v1/jobs/{own}", headers=mailer)).status_code == 200
    for method, path in (
        ("GET", ""),
        ("GET", "/wait?timeout=0"),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
    ):
        hidden = await http.request(method, f"/api/v1/jobs/{other}{path}", headers=mailer)
        assert (hidden.status_code, hidden.json()["code"]) == (404, "job_not_found")
    for document in guarded.node.documents.values():
        document["status"] = "failed"
    assert len((await http.get("/api/v1/dead", headers=mailer)).json()["jobs"]) == 1
    purged = await http.post("/api/v1/dead/purge", json={"all": True}, headers=mailer)
    assert purged.json()["count"] == 1
    assert other in guarded.node.documents
    nothing = await http.post("/api/v1/dead/purge", json={"ids": [other]}, headers=mailer)
    assert nothing.json()["count"] == 0


async def test_a_node_that_cannot_see_revocations_reads_and_changes_nothing(
    http: httpx.AsyncClient, guarded: Guarded, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await http.get("/api/v1/jobs", headers=admin)
    revocations = guarded.identity.revocations
    revocations._checked_at = float("-inf")
    monkeypatch.setattr(revocations, "until_trusted", functools.partial(revocations.until_trusted, 0.05))
    assert (await http.get("/api/v1/jobs", headers=admin)).status_code == 200
    answer = await http.post("/api/v1/jobs", json=JOB, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"]


async def test_guesses_at_refresh_tokens_are_stopped_like_those_at_other_credentials(
    mongo_server: MongoServer, database: str
) -> None:
    limits = RateLimits(address=None, principal=None, refusals=Rate(1, "h", 3), clock=lambda: 5.0)
    async with (
        open_guarded(mongo_server.uri, database, limits=limits) as node,
        httpx.AsyncClient(
            base_url=node.url, timeout=PATIENCE_S, event_hooks={"response": [checked]}, trust_env=False
        ) as http,
    ):
        guess = {"refresh_token": f"hgr_{32 * '0'}_{64 * '0'}"}
        answers = [await http.post("/auth/refresh", json=guess) for _ in range(5)]
        assert [answer.json()["code"] for answer in answers] == ["unauthenticated"] * 3 + ["rate_limited"] * 2


@pytest.mark.parametrize("path", ["login", "refresh"])
async def test_a_stranger_cannot_have_a_large_body_read(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.post(f"/auth/{path}", json={"username": "a" * 20_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_login_that_the_node_is_too_busy_for_is_no_failed_one(guarded: Guarded) -> None:
    logins, passwords = guarded.identity.logins, guarded.identity.passwords
    logins._throttle = LoginThrottle(lambda: 5.0)
    await guarded.identity.users.add("ana", PASSWORD, Role.USER)
    passwords._waiting_max = 0
    for _ in range(30):
        with pytest.raises(LoginsBusy):
            await logins.login("ana", PASSWORD, address="198.51.100.7")
    passwords._waiting_max = 10
    assert (await logins.login("ana", PASSWORD, address="198.51.100.7")).role is Role.USER
