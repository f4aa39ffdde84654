"""A logout, a disabled user and a revoked key at one node, as they are seen at another over HTTP."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.secured import Secured, caller, open_secured
from tests.auth.parts import PASSWORD
from tests.conftest import MongoServer
from tests.waiting import wait_until

Nodes = tuple[Secured, Secured]


@pytest.fixture
async def nodes(mongo_server: MongoServer, database: str) -> AsyncIterator[Nodes]:
    """Two nodes of one cluster."""
    async with open_secured(mongo_server.uri, database) as one, open_secured(mongo_server.uri, database) as two:
        yield one, two


async def log_in(here: httpx.AsyncClient) -> dict[str, str]:
    """The headers of a new session of ana."""
    pair = await here.post("/auth/login", json={"username": "ana", "password": PASSWORD})
    return {"authorization": f"Bearer {pair.json()['access_token']}"}


async def until_refused(there: httpx.AsyncClient, headers: dict[str, str]) -> None:
    async def refused() -> bool:
        return (await there.get("/auth/me", headers=headers)).status_code == 401

    await wait_until(refused)


async def test_what_ends_at_one_node_ends_at_the_other_by_itself(nodes: Nodes) -> None:
    async with caller(nodes[0], "admin") as admin, caller(nodes[0]) as here, caller(nodes[1]) as there:
        await admin.post("/api/v1/users", json={"name": "ana", "password": PASSWORD, "role": "user"})
        first, second = await log_in(here), await log_in(here)
        made = (await admin.post("/api/v1/keys", json={"name": "shop", "role": "worker"})).json()
        key = {"x-api-key": made["key"]}
        for headers in (first, second, key):
            assert (await there.get("/auth/me", headers=headers)).status_code == 200
        assert (await here.post("/auth/logout", headers=first)).status_code == 204
        await until_refused(there, first)
        assert (await there.get("/auth/me", headers=second)).status_code == 200
        await admin.delete(f"/api/v1/keys/{made['id']}")
        await until_refused(there, key)
        disabled = await admin.patch("/api/v1/users/ana", json={"disabled": True}, headers={"if-match": "*"})
        assert disabled.status_code == 200
        await until_refused(there, second)
        again = await there.post("/auth/login", json={"username": "ana", "password": PASSWORD})
        assert (again.status_code, again.json()["code"]) == (401, "invalid_credentials")


@pytest.mark.soak
async def test_it_does_so_within_a_second(nodes: Nodes, capsys: Any) -> None:
    took: list[float] = []
    async with caller(nodes[0], "admin") as admin, caller(nodes[0]) as here, caller(nodes[1]) as there:
        await admin.post("/api/v1/users", json={"name": "ana", "password": PASSWORD, "role": "user"})
        for _ in range(50):
            headers = await log_in(here)
            assert (await there.get("/auth/me", headers=headers)).status_code == 200
            await here.post("/auth/logout", headers=headers)
            answered_s = time.monotonic()
            await until_refused(there, headers)
            took.append(time.monotonic() - answered_s)
    with capsys.disabled():
        print(f"\n50 logouts seen at another node after {1000 * sum(took) / 50:.0f} ms, {1000 * max(took):.0f} at most")  # noqa: T201
    assert max(took) < 1.0
