"""A real browser: Chromium without a window, driven by Playwright, and a page that keeps what went wrong on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, async_playwright, expect

from tests.waiting import PATIENCE_S

PATIENCE_MS: Final = PATIENCE_S * 1000
AXE: Final = resources.files("axe_playwright_python") / "axe.min.js"
PHONE, LAPTOP, WALL = (390, 844), (1280, 800), (1920, 1080)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
# What axe knows of WCAG 2.2 A and AA, and its best practices.
_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# A toast is gone after seven seconds, that of a copy after one and a half: a loaded machine may take as long to look.
_TOASTS_STAY: Final = """
    const setTimer = window.setTimeout;
    const ends = (work, wait) => [7000, 1500].includes(wait) && String(work).includes('node.remove()');
    window.setTimeout = (work, wait, ...rest) => (ends(work, wait) ? 0 : setTimer(work, wait, ...rest));
"""


def chromium() -> str:
    """Where Chromium is; CHROMIUM may say. Skips the test where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium: install it (Debian: apt-get install chromium), or set CHROMIUM to its path")
    return found


@asynccontextmanager
async def open_browser(directory: Path) -> AsyncIterator[Browser]:
    """A browser for the length of the block, with a profile of its own."""
    executable = chromium()
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable,
            args=list(_FLAGS),
            env={**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory)},
            timeout=PATIENCE_MS,
        )
        try:
            yield browser
        finally:
            await browser.close()


class View:
    """One page in a context of its own, on one node. `problems` are errors of the console and of scripts."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.problems: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    async def open(self, path: str = "/") -> None:
        """Load a page and wait for its heading and for the light that says that it is live."""
        await self.page.goto(self.url + path)
        await expect(self.page.locator(".live")).to_have_text("Live")

    def row(self, text: str) -> Locator:
        """The row of a table that holds the text."""
        return self.page.locator("tbody tr", has_text=text)

    def button(self, name: str) -> Locator:
        """The button of exactly that name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def toast(self, text: str) -> Locator:
        """The toast that says so."""
        return self.page.locator(".toast", has_text=text)

    async def confirm(self, *, says: str, name: str) -> None:
        """Wait for the question, see that it says what it counted, and agree."""
        await expect(self.page.get_by_role("dialog")).to_contain_text(says)
        await self.page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()

    async def violations(self) -> list[str]:
        """What axe finds on the page as it is."""
        # Through the debugger: the page's own policy lets no foreign script in, and stays as it is.
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text(encoding="utf-8") + "; undefined")
        found: dict[str, Any] = await self.page.evaluate(
            "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})", _RULES
        )
        return [
            f"{violation['id']}: {node['html'][:160]} ({node['failureSummary']})"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]


@asynccontextmanager
async def open_view(browser: Browser, url: str, **options: Any) -> AsyncIterator[View]:
    """A page that has everything to itself; fails at the end if something went wrong on it."""
    width, height = options.pop("size", LAPTOP)
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        # For pages that open others too.
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(_TOASTS_STAY)
        view = View(await context.new_page(), url)
        yield view
        assert not view.problems, view.problems
    finally:
        await context.close()
