"""A node that wants a login: who gets in, what each role is offered, how a session goes on and how it ends."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from pymongo import MongoClient

from tests.conftest import MongoServer, RedisServer
from tests.dashboard.browser import View, chromium, open_view
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN, VIEWER, WORKER = "rails over the wide river", "a bridge of seven arches", "an engine of two cylinders"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secured(redis_server: RedisServer, mongo_server: MongoServer) -> AsyncIterator[NodeProcess]:
    """One node with an administrator, a viewer and a worker."""
    chromium()
    name = "test_dashboard_login"
    environment = {
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "MONGODB_DATABASE": name,
        "CLUSTER_ID": name,
        "AUTH_ENABLED": "true",
        "JWT_SECRET": "5f0c9a7e21b3d8449e3f5d1c0b7a28465f0c9a7e21b3d844",
        "ADMIN_PASSWORD": ADMIN,
    }
    try:
        async with node(environment) as started:
            login = await started.api.post("/auth/login", json={"username": "admin", "password": ADMIN})
            bearer = {"authorization": f"Bearer {login.json()['access_token']}"}
            for who, password, role in (("vera", VIEWER, "viewer"), ("wolf", WORKER, "worker")):
                user = {"name": who, "password": password, "role": role}
                assert (await started.api.post("/api/v1/users", json=user, headers=bearer)).status_code == 201
            job = await started.api.post("/api/v1/jobs", json={"type": "echo"}, headers=bearer)
            assert job.status_code == 201
            yield started
    finally:
        with MongoClient[dict[str, object]](mongo_server.uri) as mongo:
            mongo.drop_database(name)


@pytest_asyncio.fixture(loop_scope="module")
async def view(browser: Browser, secured: NodeProcess) -> AsyncIterator[View]:
    async with open_view(browser, secured.url) as opened:
        yield opened


async def log_in(view: View, name: str, password: str, path: str = "/") -> None:
    await view.page.goto(view.url + path)
    await view.page.get_by_label("Name").fill(name)
    await view.page.get_by_label("Password").fill(password)
    await view.page.keyboard.press("Enter")


async def test_a_wrong_password_is_refused_and_the_right_one_leads_to_the_page_that_was_asked_for(view: View) -> None:
    page = view.page
    await log_in(view, "admin", "not this one", "/ui/jobs?type=echo")
    await expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    assert not await view.violations()
    assert [problem for problem in view.problems if "401" not in problem] == []
    view.problems.clear()
    await page.get_by_label("Password").fill(ADMIN)
    await view.button("Log in").click()
    await expect(page).to_have_url(re.compile(r"/ui/jobs\?type=echo$"))
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator(".who")).to_contain_text("admin")
    assert await page.context.cookies() == []


async def test_a_session_outlives_its_access_token_and_a_reload_and_ends_with_the_logout(
    view: View, secured: NodeProcess
) -> None:
    page = view.page
    await log_in(view, "admin", ADMIN)
    await expect(page.locator(".live")).to_have_text("Live")
    held = "JSON.parse(sessionStorage.getItem('hegemon.session'))"
    first = await page.evaluate(held)
    # As if ten minutes had gone by.
    await page.evaluate(
        f"() => {{ const s = {held}; s.from -= s.ttl; sessionStorage.setItem('hegemon.session', JSON.stringify(s)); }}"
    )
    await page.reload()
    await expect(page.locator(".live")).to_have_text("Live")
    second = await page.evaluate(held)
    assert second["refresh"] != first["refresh"]
    await page.reload()
    await expect(page.locator(".live")).to_have_text("Live")
    await view.button("Log out").click()
    await expect(view.button("Log in")).to_be_visible()
    assert await page.evaluate("sessionStorage.getItem('hegemon.session')") is None
    async with httpx.AsyncClient(base_url=secured.url, timeout=60) as stranger:
        bearer = {"authorization": f"Bearer {second['access']}"}

        async def refused() -> bool:
            return (await stranger.get("/auth/me", headers=bearer)).status_code == 401

        await wait_until(refused, message="the session to be over")


async def test_a_viewer_is_offered_nothing_that_changes_anything(view: View) -> None:
    page = view.page
    await log_in(view, "vera", VIEWER, "/ui/jobs")
    await expect(page.locator("tbody tr")).to_have_count(1)
    for name in ("Submit a job", "Cancel all matching…"):
        await expect(view.button(name)).to_have_count(0)
    await expect(page.get_by_role("checkbox")).to_have_count(0)
    await expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    await page.get_by_role("link", name="echo").click()
    await expect(page.get_by_role("region", name="State")).to_contain_text("It has completed")
    for name in ("Retry", "Remove", "Submit a copy"):
        await expect(view.button(name)).to_have_count(0)
    await page.goto(f"{view.url}/ui/audit")
    await expect(page.locator(".nothing")).to_contain_text("Your role does not see this page")


async def test_a_worker_sees_jobs_and_nothing_of_the_cluster(view: View) -> None:
    page = view.page
    await log_in(view, "wolf", WORKER)
    await expect(page).to_have_url(re.compile("/ui/jobs$"))
    await expect(page.locator("tbody tr")).to_have_count(1)
    assert await page.locator(".nav a").all_inner_texts() == ["Jobs"]
    await expect(view.button("Submit a job")).to_be_visible()


async def test_an_administrator_reads_the_audit_log_and_verifies_it(view: View) -> None:
    page = view.page
    await log_in(view, "admin", ADMIN, "/ui/audit")
    await expect(view.row("addUser").filter(has_text="vera")).to_be_visible()
    action = page.get_by_label("Action, such as cancelJob", exact=True)
    await action.fill("login")
    await expect(view.row("addUser")).to_have_count(0)
    await action.fill("")
    await page.get_by_label("Who, such as user:ana", exact=True).fill("user:nobody")
    await expect(page.locator(".nothing")).to_contain_text("None matches the filters")
    await page.get_by_label("Who, such as user:ana", exact=True).fill("user:admin")
    await expect(view.row("addUser").filter(has_text="vera")).to_be_visible()
    await page.get_by_label("Who, such as user:ana", exact=True).fill("")
    await page.get_by_label("Outcome").select_option("failed")
    await expect(view.row("invalid_credentials").first).to_be_visible()
    await expect(view.row("addUser")).to_have_count(0)
    await view.button("Verify the log").click()
    await expect(page.locator(".verdict.ok")).to_contain_text("The log is whole")
    assert not await view.violations()
