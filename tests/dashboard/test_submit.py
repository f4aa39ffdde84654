"""The form that submits a job: fields from the schema that workers told of the type, JSON for those who prefer it."""

import re

import pytest
from playwright.async_api import Locator, expect

from tests.clusters.cluster import Cluster
from tests.dashboard.browser import PHONE, View

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def opened(view: View, type_: str) -> Locator:
    """The form, with a type chosen whose fields are there."""
    await view.open("/ui/jobs")
    await view.page.keyboard.press("n")
    form = view.page.get_by_role("dialog", name="Submit a job")
    await form.get_by_label("Type").fill(type_)
    await expect(form.get_by_role("radio", name="Fields")).to_be_checked()
    return form


def at(form: Locator, name: str) -> Locator:
    """The input of one argument."""
    return form.locator(f"[data-field='payload.{name}']").locator("input, select, textarea")


async def test_a_type_brings_its_fields_with_defaults_descriptions_and_marks(view: View, cluster: Cluster) -> None:
    form = await opened(view, "shaped")
    await expect(form).to_contain_text("Takes one of everything.")
    for name in ("title", "size", "how", "urgent", "names", "address", "anything"):
        await expect(form.locator(f"[data-field='payload.{name}'], fieldset", has_text=name)).to_be_visible()
    title = at(form, "title")
    await expect(title).to_have_attribute("aria-required", "true")
    await expect(form.locator("[data-field='payload.title']")).to_contain_text("What it is called.")
    await expect(at(form, "size")).to_have_attribute("placeholder", "3")
    await expect(at(form, "size")).not_to_have_attribute("aria-required", "true")
    await expect(at(form, "how").locator("option").first).to_have_text("fast (default)")
    await expect(form.get_by_label("Retries")).to_have_attribute("placeholder", "7")
    assert await view.violations() == []
    await view.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert await view.violations() == []


async def test_each_field_says_what_is_wrong_with_it_and_the_first_has_the_focus(view: View, cluster: Cluster) -> None:
    form = await opened(view, "shaped")
    await at(form, "size").fill("1.5")
    await at(form, "anything").fill("{oops")
    await form.get_by_role("button", name="Submit", exact=True).click()
    wrong = {
        "title": "It must be given",
        "size": "no whole number",
        "anything": "This is no JSON",
    }
    for name, words in wrong.items():
        await expect(form.locator(f"[data-field='payload.{name}'] .wrong")).to_contain_text(words)
    await expect(at(form, "title")).to_be_focused()
    await at(form, "size").fill("11")
    await form.get_by_role("button", name="Submit", exact=True).click()
    await expect(form.locator("[data-field='payload.size'] .wrong")).to_contain_text("at most 10")
    assert await view.violations() == []


async def test_what_is_written_in_fields_reaches_the_handler_and_what_is_not_is_left_to_it(
    view: View, cluster: Cluster
) -> None:
    form = await opened(view, "shaped")
    await at(form, "title").fill("Zoë 🐘")
    await at(form, "size").fill("7")
    await at(form, "how").select_option("slow")
    await at(form, "urgent").check()
    await at(form, "names").fill("Ada\nGrace\n")
    await at(form, "address.street").fill("Main Street")
    await form.get_by_role("button", name="Submit", exact=True).click()
    await view.toast("accepted").get_by_role("link").click()
    await expect(view.page.get_by_role("region", name="State")).to_contain_text("It has completed")
    job = await cluster.node.job(view.page.url.rsplit("/", 1)[1])
    # Left out as long as nobody changes them: a handler's defaults may change.
    assert job["payload"] == {
        "title": "Zoë 🐘",
        "size": 7,
        "how": "slow",
        "urgent": True,
        "names": ["Ada", "Grace"],
        "address": {"street": "Main Street"},
    }
    assert job["result"] == job["payload"] | {"address": {"street": "Main Street", "number": 1}, "anything": None}
    await view.button("Submit a copy").click()
    copied = view.page.get_by_role("dialog", name="Submit a copy")
    await expect(at(copied, "title")).to_have_value("Zoë 🐘")
    await expect(at(copied, "names")).to_have_value("Ada\nGrace")
    await expect(at(copied, "address.street")).to_have_value("Main Street")
    await expect(at(copied, "urgent")).to_be_checked()


async def test_fields_and_json_are_two_views_of_one_payload_by_keyboard_alone(view: View, cluster: Cluster) -> None:
    form = await opened(view, "shaped")
    await at(form, "title").fill("a")
    await form.get_by_role("radio", name="Fields").focus()
    await view.page.keyboard.press("ArrowRight")
    await expect(form.get_by_role("radio", name="JSON")).to_be_focused()
    await expect(form.get_by_label("Payload")).to_have_value(re.compile(r'^{\s+"title": "a"\s+}$'))
    await form.get_by_label("Payload").fill('{"title": "b", "size": 9}')
    await form.get_by_role("radio", name="JSON").focus()
    await view.page.keyboard.press("ArrowLeft")
    await expect(at(form, "size")).to_have_value("9")
    # What has no field stays JSON, and says so; another type keeps what it knows as well.
    await form.get_by_role("radio", name="JSON").check()
    await form.get_by_label("Payload").fill('{"title": "b", "colour": 1}')
    await form.get_by_role("radio", name="Fields").click()
    await expect(form.locator("[data-field=payload] .wrong")).to_contain_text("no field for colour")
    await expect(form.get_by_role("radio", name="JSON")).to_be_checked()
    # A type that takes anything is JSON, and so is one that nobody handles.
    for other in ("echo", "nobody-handles-this"):
        await form.get_by_label("Type").fill(other)
        await expect(form.get_by_role("radio", name="Fields")).to_be_hidden()
        await expect(form.get_by_label("Payload")).to_have_value('{"title": "b", "colour": 1}')
    assert await view.violations() == []


async def test_types_are_completed_with_what_they_do(view: View, cluster: Cluster) -> None:
    form = await opened(view, "shaped")
    known = form.locator("#known-types option")
    await expect(known.filter(has_text="Takes one of everything.")).to_have_attribute("value", "shaped")
    names = await known.evaluate_all("options => options.map(option => option.value)")
    assert {"echo", "email", "journaled", "shaped"} <= set(names)
