"""The pages of the cluster in a real browser: what they tell while the leader is killed, and of their own node."""

import re
import signal
import time
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from tests.clusters.cluster import Cluster, name_of
from tests.dashboard.browser import PHONE, WALL, View, open_view
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERDICT = ".verdict[aria-live]"
LOOKS: tuple[tuple[Literal["light", "dark"], tuple[int, int]], ...] = (("light", PHONE), ("dark", WALL))
PAGES = ("/", "/ui/jobs", "/ui/queues", "/ui/dead", "/ui/nodes", "/ui/events")


async def test_every_page_keeps_the_rules_of_accessibility_in_both_themes_and_all_sizes(
    browser: Browser, cluster: Cluster
) -> None:
    node = cluster.node
    done = await node.submit("echo", {"n": 1})
    dead = await node.submit("fail", {"times": 1}, max_retries=0)
    for job in (done, dead):
        await node.wait(job)
    async with open_view(browser, node.url) as view:
        page = view.page
        for path in (*PAGES, f"/ui/jobs/{done}", f"/ui/jobs/{dead}"):
            await view.open(path)
            await expect(page.locator("section.panel").first).to_be_visible()
            await expect(page.locator("main > .content")).not_to_contain_text("Looking at the cluster")
            for scheme, (width, height) in LOOKS:
                await page.emulate_media(color_scheme=scheme)
                await page.set_viewport_size({"width": width, "height": height})
                assert not (found := await view.violations()), f"{path} in {scheme}: {found}"
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{path} is {wide} wide on {width}"


async def test_everything_is_reached_by_keyboard(view: View, cluster: Cluster) -> None:
    page = view.page
    job = await cluster.node.submit("echo", {"n": 2}, queue="keys")
    await cluster.node.wait(job)
    await view.open("/")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("location.hash") == "#main"
    await page.keyboard.press("g")
    await page.keyboard.press("j")
    await expect(page).to_have_url(re.compile("/ui/jobs$"))
    await expect(page.locator("tbody tr").first).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("echo")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("type=echo"))
    await expect(view.row("fail")).to_have_count(0)
    await page.locator("tbody tr[tabindex='0']").focus()
    await page.keyboard.press("x")
    await expect(page.get_by_role("toolbar")).to_contain_text("1 job selected")
    await page.keyboard.press("Home")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/ui/jobs/[0-9a-f-]{36}$"))
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    for theme in ("light", "dark"):
        await page.keyboard.press("t")
        await expect(page.locator("html")).to_have_attribute("data-theme", theme)
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_nodes_workers_and_events_are_shown_and_a_leader_is_made_to_step_down(
    browser: Browser, cluster: Cluster
) -> None:
    leader = await cluster.settle()
    async with open_view(browser, leader.url) as view:
        await view.open("/ui/nodes")
        nodes = view.page.get_by_role("region", name="Nodes").locator("tbody tr")
        await expect(nodes).to_have_count(3)
        await expect(nodes.filter(has_text=name_of(leader))).to_contain_text("leader")
        await expect(view.page.get_by_role("region", name="Workers").locator("tbody tr")).to_have_count(3)
        await view.button("Step down…").click()
        await view.confirm(says="does not stand for election", name="Step down")
        await expect(view.toast("leads now").or_(view.toast("leads no more")).first).to_be_visible()
        await view.open("/ui/events")
        await expect(view.page.locator("tbody tr").first).to_be_visible()
    await cluster.settle()


async def test_the_page_tells_that_the_leader_was_killed_without_being_loaded_again(
    browser: Browser, cluster: Cluster
) -> None:
    leader = await cluster.settle()
    bystander = next(node for node in cluster.nodes if node is not leader)
    async with open_view(browser, bystander.url) as view:
        await view.open("/")
        page = view.page
        await expect(page.locator(".reign")).to_contain_text(name_of(leader))
        await page.evaluate("window.loadedOnce = true")
        killed = time.monotonic()
        await leader.kill()
        await expect(view.toast("leads").first).to_be_visible()
        told_s = time.monotonic() - killed
        await expect(view.toast("leads now").first).to_be_visible()
        successor_s = time.monotonic() - killed
        print(f"told after {told_s:.2f} s, the successor after {successor_s:.2f} s")  # noqa: T201 - the figure
        successor = await cluster.leader(other_than=leader)
        await expect(page.locator(".reign dd").nth(1)).to_have_text(name_of(successor))
        await expect(page.locator(VERDICT)).to_contain_text(f"{name_of(leader)} is lost")
        await expect(page.get_by_role("img", name=re.compile(f"^Topology: .*{name_of(leader)} dead"))).to_be_visible()
        await leader.start()
        await expect(page.locator(VERDICT)).to_contain_text("leads 3 nodes")
        assert await page.evaluate("window.loadedOnce")
    await cluster.settle()


async def test_the_page_says_that_its_own_node_is_gone_and_goes_on_when_it_is_back(
    browser: Browser, cluster: Cluster
) -> None:
    node = cluster.nodes[2]
    async with open_view(browser, node.url) as view:
        page = view.page
        await view.open("/")
        await expect(page.locator(VERDICT)).to_contain_text("leads 3 nodes")
        await node.kill()
        await expect(page.locator(".live")).to_have_text("Lost")
        lost = page.get_by_role("alert").first
        await expect(lost).to_contain_text("The connection is lost")
        others = [name_of(other) for other in cluster.nodes if other is not node]
        for name in others:
            await expect(lost.get_by_role("link", name=name)).to_have_attribute("href", re.compile("^http"))
        await node.start()
        await expect(page.locator(".live")).to_have_text("Live")
        await expect(lost).to_be_hidden()
        await expect(view.toast("answers again")).to_be_visible()
        await expect(page.locator(VERDICT)).to_contain_text("leads 3 nodes")
        node.signal(signal.SIGSTOP)
        try:
            await expect(lost).to_contain_text("no answer within")  # not what was said of the loss before
        finally:
            node.signal(signal.SIGCONT)
        await expect(page.locator(".live")).to_have_text("Live")
        # While nobody listened the browser said so.
        view.problems[:] = [problem for problem in view.problems if "net::ERR" not in problem]


async def test_a_hidden_page_asks_for_nothing(view: View) -> None:
    page = view.page
    asked: list[str] = []
    await view.open("/")
    await page.evaluate(
        "() => { Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true});"
        " window.away = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    await expect(page.locator(".live")).to_have_text("Paused")
    # What was under way may still end; after that there is silence until the page is seen again.
    await page.wait_for_load_state("networkidle")
    page.on("request", lambda request: asked.append(request.url))
    await page.evaluate("() => new Promise(over => setTimeout(over, 2500))")
    assert asked == []
    await page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    await expect(page.locator(".live")).to_have_text("Live")
    await wait_until(lambda: asked, message="a question")
