"""The audit log over HTTP: what changes something is in it, with who, what, from where and how it ended."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from hegemon.api.app import OPERATIONS
from hegemon.api.auditing import STRICT_GROUPS, UNAUDITED, outcome, small
from hegemon.api.problems import ApiError, reply_to
from hegemon.api.reply import ok
from hegemon.queue.errors import StoreUnavailable
from tests.api.secured import Secured, caller, open_secured
from tests.auth.parts import OPTIONS
from tests.conftest import MongoServer
from tests.waiting import wait_until

OPTIONS_PASSWORD = str(OPTIONS.admin_password)


@pytest.fixture
async def secured(mongo_server: MongoServer, database: str) -> AsyncIterator[Secured]:
    async with open_secured(mongo_server.uri, database) as opened:
        yield opened


async def entries(secured: Secured, count: int, **params: Any) -> list[dict[str, Any]]:
    """The log, oldest first, once it holds so many entries."""
    async with caller(secured, "admin") as admin:

        async def found() -> list[dict[str, Any]]:
            page: list[dict[str, Any]] = (await admin.get("/api/v1/audit", params=params)).json()["entries"]
            return page if len(page) >= count else []

        newest_first: list[dict[str, Any]] = await wait_until(found, message=f"{count} entries")
        return newest_first[::-1]


def test_every_operation_that_changes_something_is_audited_or_says_why_not() -> None:
    changing = {operation.name: operation for operation in OPERATIONS if operation.method != "GET"}
    missing = {name for name, operation in changing.items() if not operation.audited} - UNAUDITED.keys()
    assert not missing, f"neither audited nor in UNAUDITED: {sorted(missing)}"
    assert UNAUDITED.keys() <= changing.keys()
    assert not [operation.name for operation in OPERATIONS if operation.method == "GET" and operation.audited]


def test_the_groups_that_may_not_be_missed_exist() -> None:
    assert {operation.group for operation in OPERATIONS} >= STRICT_GROUPS


async def test_a_change_is_in_the_log_with_who_what_where_and_how_it_ended(secured: Secured) -> None:
    async with caller(secured, "user") as user:
        submitted = await user.post("/api/v1/jobs", json={"type": "echo"})
        assert submitted.status_code == 201, submitted.text
        job = submitted.json()["id"]
        await user.post(f"/api/v1/jobs/{job}/cancel", headers={"x-request-id": "first"})
        await user.post(f"/api/v1/jobs/{job}/cancel")
        await user.post("/api/v1/dead/requeue", json={"queue": "mail"})
    done, again, requeued = await entries(secured, 3)
    assert (done["principal"], done["action"], done["target"]) == ("service:user", "cancelJob", job)
    assert (done["outcome"], done["status"], done["address"]) == ("ok", 200, "127.0.0.1")
    assert (done["request_id"], done["node"]) == ("first", "n1")
    assert (again["outcome"], again["status"]) == ("job_state_conflict", 409)
    assert (requeued["target"], requeued["details"]) == ("mail", {"queue": "mail", "count": 0})


async def test_logins_good_and_bad_are_in_the_log_and_no_password_is(secured: Secured) -> None:
    async with caller(secured) as stranger:
        secret = OPTIONS_PASSWORD
        good = {"username": "admin", "password": secret}
        assert (await stranger.post("/auth/login", json=good)).status_code == 200
        bad = {"username": "admin", "password": "not my password"}
        assert (await stranger.post("/auth/login", json=bad)).status_code == 401
    ok_, failed = await entries(secured, 2)
    assert (ok_["action"], ok_["outcome"], ok_["target"]) == ("login", "ok", "user:admin")
    assert ok_["principal"] == "user:admin"
    assert (failed["outcome"], failed["status"], failed["principal"]) == ("invalid_credentials", 401, "")
    assert secret not in str([ok_, failed])
    assert "not my password" not in str([ok_, failed])


async def test_a_refresh_token_that_is_used_again_is_in_the_log_however_many_refusals_there_are(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hegemon.auth.sessions.REPEAT_S", -1.0)
    async with caller(secured) as stranger:
        login = await stranger.post("/auth/login", json={"username": "admin", "password": OPTIONS_PASSWORD})
        used = {"refresh_token": login.json()["refresh_token"]}
        assert (await stranger.post("/auth/refresh", json=used)).status_code == 200
        # Of a kind of refusals one in a while is recorded.
        assert (await stranger.post("/auth/refresh", json={"refresh_token": "nonsense"})).status_code == 401
        assert (await stranger.post("/auth/refresh", json=used)).status_code == 401
    logged_in, refreshed, refused, reused = await entries(secured, 4)
    session = f"session:{logged_in['details']['session']}"
    assert (refreshed["target"], refreshed["outcome"]) == (session, "ok")
    assert refused["details"] == {}
    assert (reused["target"], reused["outcome"], reused["details"]) == (session, "unauthenticated", {"reused": True})
    assert used["refresh_token"] not in str([logged_in, refreshed, refused, reused])


async def test_refused_credentials_and_roles_are_in_the_log(secured: Secured) -> None:
    async with caller(secured, "viewer") as viewer, caller(secured) as stranger:
        assert (await viewer.post("/api/v1/election/step-down")).status_code == 403
        assert (await stranger.get("/api/v1/jobs")).status_code == 401
        refused = await stranger.get("/api/v1/jobs", headers={"authorization": "Bearer nonsense"})
        assert refused.status_code == 401
    role, credential = await entries(secured, 2)
    assert (role["action"], role["outcome"], role["principal"]) == ("stepDown", "forbidden", "service:viewer")
    # Who shows nothing has tried nothing.
    assert (credential["action"], credential["outcome"]) == ("listJobs", "unauthenticated")


async def test_the_log_is_filtered_and_paged_and_stable_while_it_grows(secured: Secured) -> None:
    async with caller(secured, "user") as user, caller(secured, "admin") as admin:
        for _ in range(5):
            await user.delete("/api/v1/jobs/0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a")
        await admin.post("/api/v1/dead/purge", json={"all": True})
        await entries(secured, 6)
        first = (await admin.get("/api/v1/audit", params={"limit": 2})).json()
        await user.delete("/api/v1/jobs/0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a")
        await entries(secured, 7)
        seen, cursor = [entry["seq"] for entry in first["entries"]], first["next_cursor"]
        while cursor:
            page = (await admin.get("/api/v1/audit", params={"limit": 2, "cursor": cursor})).json()
            seen, cursor = [*seen, *(entry["seq"] for entry in page["entries"])], page["next_cursor"]
        assert seen == [6, 5, 4, 3, 2, 1]
        by_action = (await admin.get("/api/v1/audit", params={"action": "purgeDead"})).json()["entries"]
        assert [entry["principal"] for entry in by_action] == ["service:admin"]
        failed = (await admin.get("/api/v1/audit", params={"outcome": "failed"})).json()["entries"]
        assert {entry["outcome"] for entry in failed} == {"job_not_found"}
        nobody = await admin.get("/api/v1/audit", params={"principal": "user:nobody"})
        assert nobody.json() == {"entries": [], "next_cursor": None}
        since = by_action[0]["at"]
        later = (await admin.get("/api/v1/audit", params={"since": since})).json()["entries"]
        sooner = (await admin.get("/api/v1/audit", params={"until": since})).json()["entries"]
        assert len(later) + len(sooner) == 7


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"cursor": "x"},
        {"since": "yesterday"},
        {"until": "2026-01-01T00:00:00"},
        {"principal": ""},
        {"a": "b"},
    ],
)
async def test_a_wrong_filter_is_refused(secured: Secured, params: dict[str, str]) -> None:
    async with caller(secured, "admin") as admin:
        assert (await admin.get("/api/v1/audit", params=params)).status_code == 422


async def test_admins_are_told_whether_the_log_is_whole(secured: Secured) -> None:
    async with caller(secured, "admin") as admin:
        for _ in range(3):
            await admin.post("/api/v1/dead/purge", json={"all": True})
        await entries(secured, 3)
        whole = (await admin.get("/api/v1/audit/verification")).json()
        assert (whole["ok"], whole["checked"], whole["next"], whole["faults"]) == (True, 3, None, [])
        head = f"{whole['head']['seq']}:{whole['head']['hash']}"
        assert (await admin.get("/api/v1/audit/verification", params={"expect": head})).json()["ok"]
        await secured.audit.store._entries.update_one({"_id": 2}, {"$set": {"principal": "user:eve"}})
        broken = (await admin.get("/api/v1/audit/verification", params={"limit": 2})).json()
        assert (broken["ok"], broken["next"]) == (False, 3)
        assert [(fault["seq"], fault["kind"]) for fault in broken["faults"]] == [(2, "altered")]
        gone = await admin.get("/api/v1/audit/verification", params={"expect": f"3:{'0' * 64}", "from": 3})
        assert [fault["kind"] for fault in gone.json()["faults"]] == ["rolled_back"]


async def test_what_cannot_be_written_down_is_not_done(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> bool:
        raise StoreUnavailable("MongoDB")

    async with caller(secured, "admin") as admin:
        monkeypatch.setattr(secured.audit.store, "append", away)
        # The first is kept in the buffer; from then on the log is known to be unwritable.
        await admin.post("/api/v1/dead/purge", json={"all": True})
        await wait_until(lambda: secured.audit._failing)
        new = {"username": "mallory", "password": "a long enough password", "role": "admin"}
        assert (await admin.post("/api/v1/users", json=new)).status_code in (422, 503)
        login = await admin.post("/auth/login", json={"username": "admin", "password": OPTIONS_PASSWORD})
        assert (login.status_code, login.json()["code"]) == (503, "store_unavailable")
        # What is not about identities goes on.
        assert (await admin.post("/api/v1/dead/purge", json={"all": True})).status_code == 200
        assert secured.audit.waiting == 2
        monkeypatch.undo()
        await wait_until(lambda: not secured.audit.waiting)
    assert [entry["action"] for entry in await entries(secured, 2)] == ["purgeDead", "purgeDead"]


async def test_a_fault_of_a_handler_is_in_the_log_too(secured: Secured) -> None:
    async with caller(secured, "admin") as admin:
        secured.jobs.failure = RuntimeError("oh")
        assert (await admin.post("/api/v1/dead/purge", json={"all": True})).status_code == 500
        secured.jobs.failure = None
    (entry,) = await entries(secured, 1)
    assert (entry["action"], entry["outcome"], entry["status"]) == ("purgeDead", "unknown", 0)


def test_details_are_small_plain_and_without_secrets() -> None:
    noted = {"password": "x", "count": 3, "flag": True, "queues": ["b", "a"], "none": None, "X-API-Key": "y"}
    shown = small(noted | {f"f{n}": n for n in range(20)})
    assert shown["password"] == shown["X-API-Key"] == "********"
    assert (shown["count"], shown["flag"], shown["queues"]) == (3, True, "a, b")
    assert len(shown) <= 10


def test_the_outcome_is_the_problems_code() -> None:
    assert outcome(ok({})) == "ok"
    assert outcome(reply_to(ApiError("queue_full"), "r")) == "queue_full"


async def test_a_node_without_authentication_keeps_no_log_and_says_so(http: httpx.Client) -> None:
    answer = await asyncio.to_thread(http.get, "/api/v1/audit")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
