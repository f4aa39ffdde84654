"""Pages that draw themselves again all the time, under the hands of who uses them: a press may last, a focus stays."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Request, expect

from tests.clusters.cluster import Cluster
from tests.dashboard.browser import View, open_view
from tests.nodes import Gate
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTROLS = " :is(a, button, input, select, [tabindex])"


@pytest_asyncio.fixture(loop_scope="module")
async def running(cluster: Cluster, tmp_path: Path) -> AsyncIterator[str]:
    """A job that runs for as long as the test does, in a queue of its own name."""
    gate = Gate(str(tmp_path / "gate"))
    job = await cluster.node.submit("journaled", {"gate": gate.path}, queue=tmp_path.name[-60:])

    async def runs() -> bool:
        return bool((await cluster.node.job(job))["status"] == "running")

    await wait_until(runs, message="the job to run")
    yield job
    gate.open()
    await cluster.node.wait(job)


async def draws(view: View, path: str, count: int = 1) -> None:
    """Until the page has asked for `path`, been answered and drawn the answer `count` times from now.

    One more question says so: the page never asks for a path again before it has drawn the last answer.
    """
    asked: list[str] = []

    def hear(request: Request) -> None:
        if path in request.url:
            asked.append(request.url)

    view.page.on("request", hear)
    try:
        await wait_until(lambda: len(asked) > count, message=f"{count} answers of {path}")
    finally:
        view.page.remove_listener("request", hear)


async def pinned(control: Locator) -> tuple[float, float]:
    """Where the mouse finds the control from now on, whatever comes and goes above it on the page; one at a time."""
    await control.evaluate(
        "one => { window.pinned?.removeAttribute('style'); window.pinned = one;"
        " Object.assign(one.style, {position: 'fixed', top: '200px', left: '400px', zIndex: 9999}); }"
    )
    box = await control.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@asynccontextmanager
async def pressed(view: View, control: Locator, *, within: str = "main") -> AsyncIterator[None]:
    """The control is held down for the length of the block; it keeps the focus, and `within` none becomes another."""
    page, mouse = view.page, view.page.mouse
    await mouse.move(*await pinned(control))
    await page.evaluate(
        "controls => { window.controls = [...document.querySelectorAll(controls)]; }", within + CONTROLS
    )
    await mouse.down()
    await expect(control).to_be_focused()
    yield
    gone = await page.evaluate("window.controls.filter((one) => !one.isConnected).map((one) => one.outerHTML)")
    assert gone == []
    await expect(control).to_be_focused()
    await mouse.up()


async def test_a_press_on_the_page_of_a_running_job_outlasts_its_answers(view: View, running: str) -> None:
    await view.open(f"/ui/jobs/{running}")
    async with pressed(view, view.button("Cancel")):
        await draws(view, f"/jobs/{running}")
    await expect(view.page.get_by_role("dialog")).to_contain_text("1 job will be cancelled")


async def test_a_press_in_the_list_of_jobs_and_on_what_acts_on_them_outlasts_its_answers(
    view: View, cluster: Cluster, running: str
) -> None:
    page = view.page
    queue = (await cluster.node.job(running))["queue"]
    await view.open(f"/ui/jobs?queue={queue}")
    await page.get_by_label(f"Select {running}").check()
    toolbar, question = page.get_by_role("toolbar"), page.get_by_role("dialog")
    async with pressed(view, toolbar.get_by_role("button", name="Cancel")):
        await draws(view, "/jobs?")
    await expect(question).to_contain_text("1 job will be cancelled")
    await question.get_by_role("button", name="Back").click()
    tab = page.get_by_role("link", name=re.compile("^Scheduled"))
    shown = await tab.text_content()
    assert shown is not None

    async with pressed(view, tab):
        await cluster.node.submit("echo", delay=3600)
        await expect(tab).not_to_have_text(shown)
    await expect(page).to_have_url(re.compile("status=scheduled"))
    await page.go_back()
    async with pressed(view, view.row(queue).get_by_role("link", name="journaled")):
        await draws(view, "/jobs?")
    await expect(page).to_have_url(re.compile(f"/ui/jobs/{running}$"))


async def test_who_types_and_then_presses_at_once_is_heard(view: View, cluster: Cluster) -> None:
    """The filter that is left is applied between the press and its end."""
    page, later = view.page, {"type": "echo", "queue": "typed", "delay": 3600}
    await cluster.node.submit_many([{**later, "tags": ["one"]}, {**later, "tags": ["other"]}])
    await view.open("/ui/jobs?queue=typed")
    await expect(page.locator("tbody tr")).to_have_count(2)
    await page.mouse.move(*await pinned(view.button("Cancel all matching…")))
    await page.get_by_label("Tag", exact=True).fill("one")
    await page.mouse.down()
    await expect(page).to_have_url(re.compile("tag=one"))
    await page.mouse.up()
    await expect(page.get_by_role("dialog")).to_contain_text("1 job will be cancelled")


async def test_pages_of_a_list_are_turned_by_a_press_that_lasts_and_a_row_that_goes_moves_no_focus(
    view: View, cluster: Cluster
) -> None:
    page = view.page
    ids = await cluster.node.submit_many([{"type": "echo", "queue": "turned", "delay": 3600} for _ in range(52)])
    await view.open("/ui/jobs?queue=turned&status=scheduled")
    await expect(page.locator("tbody tr")).to_have_count(50)
    links = page.locator("tbody a")
    await links.nth(2).focus()
    kept = await links.nth(2).get_attribute("href")
    await links.nth(2).evaluate("link => link.addEventListener('blur', () => { window.blurred = true; })")
    gone = await links.first.get_attribute("href")
    assert gone is not None
    assert gone.rsplit("/", 1)[1] in ids
    (await cluster.node.api.post(f"/api/v1/jobs/{gone.rsplit('/', 1)[1]}/cancel")).raise_for_status()
    await expect(page.locator(f"a[href='{gone}']")).to_have_count(0)
    assert await page.evaluate("[document.activeElement.getAttribute('href'), window.blurred]") == [kept, None]
    async with pressed(view, view.button("Older")):
        await draws(view, "/jobs?")
    await expect(page.locator("tbody tr")).to_have_count(1)


async def test_a_press_on_the_page_of_queues_outlasts_its_answers_and_a_link_that_goes_leaves_its_focus_to_the_row(
    view: View, cluster: Cluster, tmp_path: Path
) -> None:
    page, node, gate = view.page, cluster.node, Gate(str(tmp_path / "gate"))
    held = await node.submit("journaled", {"gate": gate.path}, queue="pressed")
    stuck = await node.submit("nobody-presses-here", queue="pressed")
    await view.open("/ui/queues")
    row = view.row("pressed")
    await row.locator("a[href*='status=running']").focus()
    gate.open()
    await node.wait(held)
    await expect(row.locator("a[href*='status=running']")).to_have_count(0)
    await expect(row).to_be_focused()
    waiting = "section[aria-label='Jobs without a worker']"
    async with pressed(view, page.locator(waiting).get_by_role("link", name="1 job"), within=waiting):
        await draws(view, "/stats")
    await expect(page).to_have_url(re.compile("type=nobody-presses-here"))
    (await node.api.post(f"/api/v1/jobs/{stuck}/cancel")).raise_for_status()


async def test_a_press_on_a_group_of_dead_letters_outlasts_one_that_joins_it_and_takes_it_along(
    view: View, cluster: Cluster
) -> None:
    page, node = view.page, cluster.node
    fails = {"times": 9, "message": "pressed"}
    await node.wait(await node.submit("fail", fails, max_retries=0))
    await view.open("/ui/dead")
    await view.row("pressed").get_by_role("link").click()
    group = page.get_by_role("region", name="Jobs of the group")
    await expect(group.locator("tbody tr")).to_have_count(1)

    async with pressed(view, group.get_by_role("button", name="Purge")):
        await node.wait(await node.submit("fail", fails, max_retries=0))
        await expect(group.locator("tbody tr")).to_have_count(2)
    await expect(page.get_by_role("dialog")).to_contain_text("2 dead letters will be removed")
    await page.keyboard.press("Escape")
    async with pressed(view, view.row("pressed").first.get_by_role("button", name="Purge")):
        await draws(view, "/stats")
    await expect(page.get_by_role("dialog")).to_contain_text("2 dead letters will be removed")


async def test_a_press_on_the_page_of_nodes_outlasts_its_answers(browser: Browser, cluster: Cluster) -> None:
    leader = await cluster.settle()
    async with open_view(browser, leader.url) as view:
        await view.open("/ui/nodes")
        async with pressed(view, view.button("Step down…")):
            await draws(view, "/nodes")
        await expect(view.page.get_by_role("dialog")).to_contain_text("does not stand for election")
