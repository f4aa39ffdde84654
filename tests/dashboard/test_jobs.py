"""Every action of the pages of jobs, in a real browser against a real cluster of three nodes."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.clusters.cluster import Cluster
from tests.dashboard.browser import View
from tests.nodes import Gate

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(str(tmp_path / "gate"))


async def test_a_job_is_submitted_by_the_form_and_seen_through_to_its_result(view: View, gate: Gate) -> None:
    page = view.page
    await view.open("/ui/jobs")
    await page.keyboard.press("n")
    form = page.get_by_role("dialog", name="Submit a job")
    await form.get_by_label("Type").fill("no such type!")
    await form.get_by_role("button", name="Submit", exact=True).click()
    await expect(form.locator("[data-field=type] .wrong")).to_be_visible()
    await form.get_by_label("Type").fill("journaled")
    await form.get_by_role("radio", name="JSON").check()
    await form.get_by_label("Payload").fill("{not json")
    await form.get_by_role("button", name="Submit", exact=True).click()
    await expect(form.locator("[data-field=payload] .wrong")).to_contain_text("no JSON")
    await form.get_by_label("Payload").fill(json.dumps({"gate": gate.path, "result": 42}))
    await form.get_by_label("Queue").fill("by-hand")
    await form.get_by_label("Tags").fill("first second")
    await form.get_by_role("button", name="Submit", exact=True).click()
    await view.toast("accepted").get_by_role("link").click()
    await expect(page.locator(".status.s-running").first).to_be_visible()
    await expect(page.get_by_role("region", name="State")).to_contain_text("It runs on n")
    gate.open()
    await expect(page.get_by_role("region", name="Result")).to_contain_text("42")
    await expect(page.get_by_role("region", name="State")).to_contain_text("It has completed")
    await expect(page.get_by_role("table", name="Where the time went")).to_contain_text("running")
    await view.button("Submit a copy").click()
    await page.get_by_role("dialog", name="Submit a copy").get_by_role("button", name="Submit", exact=True).click()
    await expect(page.get_by_role("region", name="Facts")).to_contain_text("by-hand")
    await expect(page.get_by_role("region", name="State")).to_contain_text("It has completed")
    await view.button("Remove").click()
    await view.confirm(says="1 job will be removed", name="Remove 1 job")
    await expect(page).to_have_url(re.compile("/ui/jobs$"))
    # The submit form of the refused type made an error of the node, which the browser puts into its console.
    view.problems[:] = [problem for problem in view.problems if "422" not in problem and "400" not in problem]


async def test_jobs_are_filtered_by_the_address_paged_and_kept_live(view: View, cluster: Cluster) -> None:
    page, node = view.page, cluster.nodes[1]
    await node.submit_many([{"type": "echo", "payload": {"n": n}, "queue": "paged"} for n in range(60)])
    await view.open("/ui/jobs?queue=paged")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(50)
    await expect(page.get_by_label("Queue", exact=True)).to_have_value("paged")
    await view.button("Older").click()
    await expect(rows).to_have_count(10)
    await page.go_back()
    await expect(rows).to_have_count(50)
    await page.get_by_label("Type", exact=True).fill("sleep")
    await expect(page.locator(".nothing")).to_contain_text("No job matches")
    await expect(page).to_have_url(re.compile("type=sleep"))
    # Live: what another node takes in appears without a hand.
    await node.submit("sleep", {"seconds": 0}, queue="paged")
    await expect(rows).to_have_count(1)
    await page.reload()
    await expect(rows).to_have_count(1)
    await page.get_by_role("link", name=re.compile("^Failed")).click()
    await expect(page.locator(".nothing")).to_contain_text("No job matches")


async def test_one_some_and_all_matching_jobs_are_cancelled_and_put_back(
    view: View, cluster: Cluster, gate: Gate
) -> None:
    page, node = view.page, cluster.nodes[1]
    await node.submit_many([{"type": "echo", "queue": "bulk", "delay": 3600, "tags": ["later"]} for _ in range(7)])
    await view.open("/ui/jobs?queue=bulk")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(7)
    for row in (0, 1):
        await rows.nth(row).get_by_role("checkbox").check()
    toolbar = page.get_by_role("toolbar")
    await expect(toolbar).to_contain_text("2 jobs selected")
    await toolbar.get_by_role("button", name="Cancel").click()
    await view.confirm(says="2 jobs will be cancelled", name="Cancel 2 jobs")
    await expect(page.locator(".status.s-cancelled")).to_have_count(2)
    await expect(toolbar).to_be_hidden()
    await view.button("Cancel all matching…").click()
    await view.confirm(says="5 jobs will be cancelled; 2 others cannot be", name="Cancel 5 jobs")
    await expect(page.locator(".status.s-cancelled")).to_have_count(7)
    await page.get_by_label("Select all rows on this page").check()
    await toolbar.get_by_role("button", name="Retry").click()
    await view.confirm(says="7 jobs will be put back", name="Retry 7 jobs")
    await expect(page.locator(".status.s-completed")).to_have_count(7)
    waiting = await node.submit("journaled", {"gate": gate.path}, queue="bulk")
    await page.get_by_role("link", name="journaled").click()
    await expect(page).to_have_url(re.compile(waiting))
    await view.button("Cancel").click()
    await view.confirm(says="1 job will be cancelled", name="Cancel 1 job")
    await expect(page.get_by_role("region", name="State")).to_contain_text("It was cancelled")
    await view.button("Retry").click()
    await view.confirm(says="1 job will be put back", name="Retry 1 job")
    gate.open()
    await expect(page.get_by_role("region", name="State")).to_contain_text("It has completed")


async def test_dead_letters_are_grouped_put_back_and_purged(view: View, cluster: Cluster) -> None:
    page, node = view.page, cluster.nodes[2]
    fails = [{"type": "fail", "payload": {"times": 1, "message": f"no order {n}"}, "max_retries": 0} for n in range(3)]
    ids = await node.submit_many([*fails, {"type": "picky", "payload": {"how": "reject"}, "max_retries": 0}])
    for job in ids:
        await node.wait(job)
    await view.open("/ui/dead")
    # Errors that differ in their figures alone are one group.
    await expect(page.locator("tbody tr")).to_have_count(2)
    await view.row("no order").get_by_role("link").click()
    await expect(page.get_by_role("region", name="Jobs of the group").locator("tbody tr")).to_have_count(3)
    await view.row("no order").first.get_by_role("button", name="Requeue").click()
    await view.confirm(says="3 dead letters will be put back", name="Requeue 3 jobs")
    await expect(view.toast("3 jobs were put back")).to_be_visible()
    for job in ids[:3]:
        assert len((await node.wait(job))["history"]) == 2
    await page.get_by_label("Type", exact=True).fill("picky")
    await view.button("Purge matching…").click()
    await view.confirm(says="1 dead letter will be removed", name="Purge 1 job")
    await expect(page.locator(".nothing")).to_contain_text("No dead letters")
    assert (await node.api.get(f"/api/v1/jobs/{ids[3]}")).status_code == 404


async def test_what_a_job_holds_is_text_and_nothing_else(view: View, cluster: Cluster) -> None:
    evil = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    job = await cluster.node.submit("echo", {"text": evil, "javascript:": evil}, tags=["<b>bold</b>"])
    await cluster.node.wait(job)
    await view.open(f"/ui/jobs/{job}")
    await expect(view.page.get_by_role("region", name="Payload")).to_contain_text("onerror")
    await expect(view.page.get_by_role("link", name="<b>bold</b>")).to_be_visible()
    assert await view.page.locator("img[src=x], script:not([src])").count() == 0
    assert "taken" not in await view.page.title()


async def test_queues_show_what_each_holds_and_why_a_job_waits(view: View, cluster: Cluster, gate: Gate) -> None:
    node = cluster.node
    await node.submit_many([{"type": "journaled", "payload": {"gate": gate.path}, "queue": "held"} for _ in range(2)])
    stuck = await node.submit("nobody-handles-this", queue="stuck")
    await view.open("/ui/queues")
    await expect(view.row("held").get_by_role("link", name="2")).to_be_visible()
    await expect(view.page.get_by_role("region", name="Jobs without a worker")).to_contain_text("nobody-handles-this")
    await view.row("stuck").get_by_role("link", name="stuck").click()
    await view.page.get_by_role("link", name="nobody-handles-this").click()
    await expect(view.page.get_by_role("region", name="State")).to_contain_text("It waits for a worker that handles")
    gate.open()
    assert (await node.api.post(f"/api/v1/jobs/{stuck}/cancel")).status_code == 200
