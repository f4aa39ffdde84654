"""The stream of events in a real browser: what the page says when it is lost, and what it has of what happened then."""

import pytest
from playwright.async_api import Browser, Request, Route, expect

from tests.clusters.cluster import Cluster
from tests.dashboard.browser import View, open_view
from tests.dashboard.relay import relayed
from tests.nodes import NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = "**/api/v1/activity/stream"
QUESTIONS = "**/api/v1/activity?*"
EVENTS = "/ui/events?kind=job.cancelled"


async def cancelled(node: NodeProcess, count: int) -> list[str]:
    """So many jobs, cancelled one after another: an event each."""
    ids = []
    for _ in range(count):
        ids.append(await node.submit("echo", queue="live", delay=3600))
        (await node.api.post(f"/api/v1/jobs/{ids[-1]}/cancel")).raise_for_status()
    return ids


async def shown(view: View) -> list[str]:
    """The jobs of the events on the page, oldest first."""
    links = view.page.locator(".stacked tbody a")
    found: list[str] = await links.evaluate_all("links => links.map((link) => link.title)")
    return found[::-1]


async def abort(route: Route) -> None:
    await route.abort()


async def refuse(route: Route) -> None:
    await route.fulfill(status=503, content_type="application/problem+json", json={"code": "store_unavailable"})


async def test_a_page_whose_stream_is_lost_says_so_and_misses_nothing_and_tells_nothing_twice(
    browser: Browser, cluster: Cluster
) -> None:
    node = cluster.node
    begun: list[Request] = []
    async with relayed(node.url) as relay, open_view(browser, relay.url) as view:
        page = view.page
        page.on("request", lambda request: begun.append(request) if request.url.endswith("/stream") else None)
        await view.open(EVENTS)
        jobs = await cancelled(node, 2)
        await wait_until(lambda: _holds(view, jobs), message="what happened while the stream was there")
        # The stream alone is lost: the page says so, and asks for what happens.
        await page.route(STREAM, abort)
        relay.cut()
        await expect(page.locator(".live")).to_have_text("Stream lost")
        await expect(page.get_by_text("the stream is lost")).to_be_visible()
        assert not (found := await view.violations()), found
        jobs += await cancelled(node, 2)
        await wait_until(lambda: _holds(view, jobs), message="what happened while the page had to ask")
        # Nobody can tell it of what happens now; afterwards the stream does, from where the page was.
        await page.route(QUESTIONS, refuse)
        jobs += await cancelled(node, 3)
        begun.clear()
        await page.unroute(STREAM)
        await expect(page.locator(".live")).to_have_text("Live")
        await wait_until(lambda: _holds(view, jobs), message="what happened while nobody told")
        after = [await request.header_value("last-event-id") for request in begun]
        assert after
        assert all(place is not None and place.isdigit() for place in after)
        jobs += await cancelled(node, 1)
        await wait_until(lambda: _holds(view, jobs))
        assert (await shown(view))[-len(jobs) :] == jobs
        await page.unroute(QUESTIONS)
        view.problems[:] = [problem for problem in view.problems if "net::ERR" not in problem and "503" not in problem]


async def _holds(view: View, jobs: list[str]) -> bool:
    found = await shown(view)
    assert len(set(found)) == len(found), "an event is shown twice"
    return set(jobs) <= set(found)


async def test_a_page_that_was_hidden_has_all_that_happened_meanwhile(browser: Browser, cluster: Cluster) -> None:
    node = cluster.node
    async with open_view(browser, node.url) as view:
        page = view.page
        await view.open(EVENTS)
        await page.evaluate(
            "() => { Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true});"
            " window.away = true; document.dispatchEvent(new Event('visibilitychange')); }"
        )
        await expect(page.locator(".live")).to_have_text("Paused")
        jobs = await cancelled(node, 3)
        await page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
        await wait_until(lambda: _holds(view, jobs), message="what happened meanwhile")
        assert (await shown(view))[-len(jobs) :] == jobs
