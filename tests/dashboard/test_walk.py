"""A walk through every page: each link, filter, button and key that the other files of this directory do not use."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.clusters.cluster import Cluster, name_of
from tests.dashboard.browser import PHONE, View, open_view
from tests.nodes import Gate, NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TILES = {
    "Throughput": r"/ui/jobs\?status=completed$",
    "Ready": r"/ui/jobs\?status=pending$",
    "Running": r"/ui/jobs\?status=running$",
    "Later": r"/ui/jobs\?status=scheduled$",
    "Wait, p95": r"/ui/jobs\?status=completed$",
    "Dead letters": "/ui/dead$",
}
KEYS = {"w": "Nodes", "e": "Events", "j": "Jobs", "q": "Queues", "d": "Dead letters", "o": "Overview"}


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(str(tmp_path / "gate"))


async def abort(route: Route) -> None:
    await route.abort()


async def suggested(view: View, label: str, word: str) -> None:
    """Fill a filter with a word that its list of words has."""
    field = view.page.get_by_label(label, exact=True)
    await field.focus()
    await expect(view.page.locator(f"#words-{label.lower()} option[value='{word}']")).to_have_count(1)
    await field.fill(word)
    await field.press("Enter")


async def dead_again(node: NodeProcess, job: str, *, tries: int) -> None:
    """Wait until a job that was put back has died once more."""

    async def died() -> bool:
        seen = await node.job(job)
        return seen["status"] == "failed" and len(seen["history"]) == tries

    await wait_until(died, message=f"{job} to have died {tries} times")


async def test_every_tile_link_and_key_of_the_frame_leads_where_it_says(view: View, cluster: Cluster) -> None:
    page = view.page
    await view.open("/")
    for name, address in TILES.items():
        await page.locator("a.figure", has=page.get_by_text(name, exact=True)).click()
        await expect(page).to_have_url(re.compile(address))
        await page.go_back()
    for key, name in KEYS.items():
        await page.keyboard.press("g")
        await page.keyboard.press(key)
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        await expect(page.locator(".nav a[aria-current=page]")).to_contain_text(name)
    await page.get_by_role("button", name="Theme: auto").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await view.button("Keyboard shortcuts").click()
    await page.get_by_role("checkbox", name="Single keys act").uncheck()
    await view.button("Close").click()
    await page.keyboard.press("t")
    await page.keyboard.press("n")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator("html")).to_have_attribute("data-theme", "light")
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    await view.button("Menu").click()
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Queues").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Queues")
    await expect(view.button("Menu")).to_have_attribute("aria-expanded", "false")
    await page.goto(f"{view.url}/ui/nowhere")
    await expect(page.locator(".nothing")).to_contain_text("There is no such page")


async def test_whoever_does_not_want_to_wait_for_the_next_try_says_so(view: View, cluster: Cluster) -> None:
    page = view.page
    await view.open("/ui/queues")
    # No next try comes by itself.
    await page.evaluate("() => { window.setTimeout = () => 0; }")
    await page.route(re.compile("/api/|/livez"), abort)
    await page.get_by_role("link", name="Nodes").click()
    await expect(page.locator(".live")).to_have_text("Lost")
    await page.unroute_all(behavior="wait")
    await view.button("Try now").click()
    await view.toast("answers again").get_by_role("button", name="Dismiss").click()
    await expect(view.toast("answers again")).to_have_count(0)
    await expect(view.button("Try now")).to_be_hidden()
    view.problems[:] = [problem for problem in view.problems if "net::ERR" not in problem]


async def test_all_that_the_form_asks_reaches_the_job_and_its_page_tells_it(view: View, cluster: Cluster) -> None:
    page = view.page
    await view.open("/ui/jobs")
    await view.button("Submit a job").click()
    form = page.get_by_role("dialog", name="Submit a job")
    await form.get_by_role("button", name="Back").click()
    await expect(form).to_have_count(0)
    await view.button("Submit a job").click()
    for label, value in {"Type": "echo", "Queue": "walk-form", "Delay, seconds": "3600", "Retries": "4"}.items():
        await form.get_by_label(label, exact=True).fill(value)
    await form.get_by_label("Timeout, seconds").fill("90")
    await form.get_by_label("Tags").fill("shop, eu")
    await form.get_by_label("Priority").select_option("7")
    await form.get_by_label("Payload").fill('{"order": 7}')
    await form.get_by_role("button", name="Submit", exact=True).click()
    await view.toast("accepted").get_by_role("link").click()
    await expect(page).to_have_url(re.compile("/ui/jobs/[0-9a-f-]{36}$"))
    job = await cluster.node.job(page.url.rsplit("/", 1)[1])
    asked = {"queue": "walk-form", "priority": 7, "max_retries": 4, "timeout": 90.0, "tags": ["shop", "eu"]}
    assert {name: job[name] for name in asked} == asked
    assert job["status"] == "scheduled"
    state, facts = page.get_by_role("region", name="State"), page.get_by_role("region", name="Facts")
    await expect(state).to_contain_text("It is due in")
    await expect(facts).to_contain_text("1 m 30 s")
    await expect(page.get_by_role("table", name="Where the time went")).to_contain_text("until it was due")
    for link, query in {"eu": "tag=eu", "walk-form": "queue=walk-form", "echo": "type=echo"}.items():
        await facts.get_by_role("link", name=link, exact=True).click()
        await expect(page).to_have_url(re.compile(f"/ui/jobs\\?{query}$"))
        await page.go_back()
    await page.get_by_role("heading", level=1).get_by_role("link", name="Jobs").click()
    await expect(page).to_have_url(re.compile("/ui/jobs$"))


async def test_a_page_of_jobs_is_narrowed_by_words_it_knows_and_acts_on_what_is_left(
    view: View, cluster: Cluster
) -> None:
    page, node = view.page, cluster.nodes[1]
    later = {"type": "echo", "queue": "walk", "delay": 3600}
    await node.submit_many([{**later, "tags": ["old"]} for _ in range(3)] + [{**later, "tags": ["new"]}] * 52)
    await view.open("/ui/jobs?queue=walk")
    rows, toolbar, tabs = page.locator("tbody tr"), page.get_by_role("toolbar"), page.get_by_role("navigation")
    await expect(rows).to_have_count(50)
    await view.button("Older").click()
    await expect(rows).to_have_count(5)
    await page.get_by_role("link", name="Newest").click()
    await expect(rows).to_have_count(50)
    await suggested(view, "Tag", "new")
    await suggested(view, "Type", "echo")
    await suggested(view, "Queue", "walk")
    await page.get_by_label("Tag", exact=True).fill("old")
    await expect(rows).to_have_count(3)
    # Counted, but not agreed to: nothing is done.
    await view.button("Cancel all matching…").click()
    question = page.get_by_role("dialog")
    await expect(question).to_contain_text("3 jobs will be cancelled")
    await question.get_by_role("button", name="Back").click()
    await view.button("Remove all matching…").click()
    await expect(question).to_contain_text("None of 3 jobs can be removed")
    await expect(question.get_by_role("button", name="Remove")).to_be_disabled()
    await page.keyboard.press("Escape")
    await expect(page.locator(".status.s-scheduled")).to_have_count(3)
    await rows.first.get_by_role("checkbox").check()
    await toolbar.get_by_role("button", name="Clear").click()
    await expect(toolbar).to_be_hidden()
    await view.button("Cancel all matching…").click()
    await view.confirm(says="3 jobs will be cancelled", name="Cancel 3 jobs")
    await (
        tabs.filter(has=page.get_by_role("link", name=re.compile("^All")))
        .get_by_role("link", name=re.compile("^Cancelled"))
        .click()
    )
    await expect(rows).to_have_count(3)
    await expect(view.button("Cancel all matching…")).to_have_count(0)
    await rows.first.get_by_role("checkbox").check()
    await toolbar.get_by_role("button", name="Remove").click()
    await view.confirm(says="1 job will be removed", name="Remove 1 job")
    await expect(rows).to_have_count(2)
    await view.button("Retry all matching…").click()
    await view.confirm(says="2 jobs will be put back", name="Retry 2 jobs")
    await tabs.get_by_role("link", name=re.compile("^Completed")).click()
    await expect(rows).to_have_count(2)
    await view.button("Remove all matching…").click()
    await view.confirm(says="2 jobs will be removed", name="Remove 2 jobs")
    await expect(view.toast("2 jobs were removed")).to_be_visible()
    await page.get_by_role("link", name="all jobs", exact=True).click()
    await rows.first.locator("td").nth(2).click()
    await expect(page).to_have_url(re.compile("/ui/jobs/[0-9a-f-]{36}$"))


async def test_a_job_tells_its_progress_its_log_and_its_tries_while_they_come(
    browser: Browser, cluster: Cluster, gate: Gate
) -> None:
    node = cluster.node
    job = await cluster.nodes[1].submit("talkative", {"lines": 4, "gate": gate.path})
    dead = await node.submit("fail", {"times": 9, "message": "no stock"}, max_retries=1)
    await node.wait(dead)
    async with open_view(browser, node.url, permissions=["clipboard-read", "clipboard-write"]) as view:
        page = view.page
        await view.open(f"/ui/jobs/{job}")
        state, log = page.get_by_role("region", name="State"), page.get_by_role("region", name="Log")
        await expect(state).to_contain_text("25 % step 1")
        await expect(state.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")
        await expect(log).to_contain_text("line 1")
        await expect(log).not_to_contain_text("line 2")
        gate.open()
        await expect(log).to_contain_text("line 4")
        await expect(state.get_by_role("progressbar")).to_have_count(0)
        await page.get_by_role("region", name="Payload").get_by_role("button", name="Copy").click()
        await expect(view.toast("Copied")).to_be_visible()
        assert json.loads(await page.evaluate("navigator.clipboard.readText()")) == {"lines": 4, "gate": gate.path}
        await view.open(f"/ui/jobs/{dead}")
        await expect(state).to_contain_text("Its tries are used up. It is among the dead letters.")
        await expect(page.get_by_role("region", name="Tries").locator("tbody tr")).to_have_count(2)
        await expect(page.get_by_role("table", name="Where the time went")).to_contain_text("backing off")
        error = page.get_by_role("region", name="Error")
        await expect(error).to_contain_text("RuntimeError no stock")
        await error.get_by_role("button", name="Copy").click()
        await expect(view.toast("Copied").first).to_be_visible()
        await page.wait_for_function("navigator.clipboard.readText().then((text) => text.includes('Traceback'))")
        # Removed by somebody else while it is looked at.
        assert (await node.api.delete(f"/api/v1/jobs/{dead}")).status_code == 204
        await view.open(f"/ui/jobs/{dead}")
        await expect(page.locator(".nothing")).to_contain_text("There is no such job")
        await page.get_by_role("link", name="All jobs").click()
        await expect(page).to_have_url(re.compile("/ui/jobs$"))
        view.problems[:] = [problem for problem in view.problems if "404" not in problem]


async def test_dead_letters_are_put_back_and_purged_by_group_type_queue_and_all_at_once(
    view: View, cluster: Cluster
) -> None:
    page, node = view.page, cluster.nodes[2]
    (await node.api.post("/api/v1/dead/purge", json={"all": True})).raise_for_status()
    rejected = {"type": "picky", "payload": {"how": "reject"}, "queue": "walk-picky"}
    fails = [
        {"type": "fail", "payload": {"times": 9, "message": word}, "max_retries": 0, "queue": f"walk-{word}"}
        for word in ("lost", "lost", "torn", "torn", "torn", "wet")
    ]
    ids = await node.submit_many([*fails, rejected])
    for job in ids:
        await node.wait(job)
    await view.open("/ui/dead")
    groups = page.get_by_role("region", name="Dead letters").locator("tbody tr")
    group = page.get_by_role("region", name="Jobs of the group")
    await expect(groups).to_have_count(4)
    await view.row("torn").get_by_role("link").click()
    await expect(group.locator("tbody tr")).to_have_count(3)
    await page.reload()
    await expect(group.locator("tbody tr")).to_have_count(3)
    await group.get_by_role("link").first.click()
    await expect(page.get_by_role("region", name="Error")).to_contain_text("torn")
    await page.go_back()
    await group.get_by_role("button", name="Requeue").click()
    await view.confirm(says="3 dead letters will be put back", name="Requeue 3 jobs")
    for job in ids[2:5]:
        await dead_again(node, job, tries=2)
    await expect(group.locator("tbody tr")).to_have_count(3)
    await view.button("Close the group").click()
    await expect(group).to_have_count(0)
    await view.row("torn").get_by_role("button", name="Purge").click()
    await view.confirm(says="3 dead letters will be removed", name="Purge 3 jobs")
    await expect(groups).to_have_count(3)
    await suggested(view, "Queue", "walk-lost")
    await expect(groups).to_have_count(1)
    await view.button("Purge matching…").click()
    await view.confirm(says="2 dead letters will be removed", name="Purge 2 jobs")
    await expect(page.locator(".nothing")).to_contain_text("None matches the filters")
    await page.get_by_label("Queue", exact=True).fill("")
    await suggested(view, "Type", "picky")
    await expect(groups).to_have_count(1)
    await view.button("Requeue matching…").click()
    await view.confirm(says="1 dead letter will be put back", name="Requeue 1 job")
    await dead_again(node, ids[6], tries=2)
    await page.get_by_label("Type", exact=True).fill("")
    await view.button("Requeue all…").click()
    await view.confirm(says="2 dead letters will be put back", name="Requeue 2 jobs")
    await dead_again(node, ids[5], tries=2)
    await dead_again(node, ids[6], tries=3)
    await expect(groups).to_have_count(2)
    await view.button("Purge all…").click()
    await view.confirm(says="2 dead letters will be removed", name="Purge 2 jobs")
    await expect(page.locator(".nothing")).to_contain_text("Every job that ended, ended well")


async def test_events_are_found_by_kind_severity_and_node_and_lead_to_their_job(view: View, cluster: Cluster) -> None:
    page, here, there = view.page, cluster.node, cluster.nodes[1]
    jobs = []
    for node in (here, there):
        jobs.append(await node.submit("echo", queue="walk-events", delay=3600))
        (await node.api.post(f"/api/v1/jobs/{jobs[-1]}/cancel")).raise_for_status()
    await view.open("/ui/events")
    rows = page.locator(".stacked tbody tr")
    await page.get_by_label("Kind, such as election.", exact=True).fill("job.cancelled")
    await expect(page.locator(f"a[title='{jobs[0]}']")).to_be_visible()
    await expect(rows.filter(has_not_text="job.cancelled")).to_have_count(0)
    await page.get_by_label("Node", exact=True).fill(name_of(there))
    await expect(page.locator(f"a[title='{jobs[0]}']")).to_have_count(0)
    await expect(page).to_have_url(re.compile(f"kind=job.cancelled&node={name_of(there)}$"))
    await page.get_by_label("Severity").select_option("error")
    await expect(page.locator(".nothing")).to_contain_text("None matches the filters")
    await page.get_by_label("Severity").select_option("info")
    await page.locator(f"a[title='{jobs[1]}']").click()
    await expect(page.get_by_role("region", name="State")).to_contain_text("It was cancelled")


async def test_queues_and_waiting_types_lead_to_their_jobs(view: View, cluster: Cluster, gate: Gate) -> None:
    page, node = view.page, cluster.node
    held = await node.submit("journaled", {"gate": gate.path}, queue="walk-queue")
    stuck = await node.submit("nobody-walks-here", queue="walk-queue")
    await view.open("/ui/queues")
    await view.row("walk-queue").locator("a[href*='status=running']").click()
    await expect(page).to_have_url(re.compile(r"queue=walk-queue&status=running|status=running&queue=walk-queue"))
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.go_back()
    waiting = page.get_by_role("region", name="Jobs without a worker")
    await waiting.locator("a[href*='nobody-walks-here']").click()
    await expect(page.get_by_label("Type", exact=True)).to_have_value("nobody-walks-here")
    await expect(page.locator("tbody tr")).to_have_count(1)
    (await node.api.post(f"/api/v1/jobs/{stuck}/cancel")).raise_for_status()
    gate.open()
    await node.wait(held)


async def test_who_looks_at_another_node_is_led_to_the_leader_to_make_it_step_down(
    browser: Browser, cluster: Cluster
) -> None:
    leader = await cluster.settle()
    bystander = next(node for node in cluster.nodes if node is not leader)
    async with open_view(browser, bystander.url) as view:
        page = view.page
        await view.open("/ui/nodes")
        other = next(node for node in cluster.nodes if node not in (leader, bystander))
        await expect(view.row(name_of(other)).first.get_by_role("link")).to_have_attribute(
            "href", f"{other.url}/ui/nodes"
        )
        await expect(view.button("Step down…")).to_have_count(0)
        async with page.context.expect_page() as opened:
            await page.get_by_role("link", name=f"Step down: on {name_of(leader)}").click()
        there = await opened.value
        await there.get_by_role("button", name="Step down…").click()
        question = there.get_by_role("dialog")
        await question.get_by_role("button", name="Back").click()
        await expect(question).to_have_count(0)
        await there.get_by_role("button", name="Step down…").click()
        await question.get_by_role("button", name="Step down", exact=True).click()
        await expect(there.locator(".toast", has_text="It steps down")).to_be_visible()
        # The other page hears of it; where the leader was there is nothing more to be asked for.
        await expect(view.toast("leads now").first).to_be_visible()
        await expect(there.get_by_role("button", name="Step down…")).to_have_count(0)
        await view.open("/")
        await expect(page.get_by_role("list", name="Changes of leadership")).to_contain_text(
            f"{name_of(leader)} gave its office up"
        )
    await cluster.settle()
