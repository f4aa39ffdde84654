"""Photographs the dashboard for the README: `python docs/pictures/draw_dashboard.py http://127.0.0.1:8080` while a
cluster works. It looks for some minutes, so that the charts have something to show, and lets the leader step down once.

Needs Chromium and the dev group (playwright, Pillow).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Final

import httpx
from PIL import Image
from playwright.async_api import Page, async_playwright

IMAGES: Final = Path(__file__).resolve().parents[1] / "images"
LOOK_S: Final = float(os.environ.get("LOOK_S", "280"))
# What the page of jobs shows, of which there must be ten at least.
JOBS: Final = os.environ.get("JOBS", "type=sleep")


async def photograph(page: Page, name: str) -> None:
    """Save what is seen, in 256 colours: a page has few."""
    path = IMAGES / f"{name}.png"
    await page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, kmeans=4, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


async def main(url: str) -> None:
    """Every picture there is."""
    IMAGES.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    async with async_playwright() as playwright, httpx.AsyncClient(base_url=url) as api:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1280, "height": 1070}, color_scheme="light")
        await page.goto(url)
        await asyncio.sleep(LOOK_S / 2)
        leader = (await api.get("/api/v1/leader")).json()["url"]
        async with httpx.AsyncClient(base_url=leader) as led:
            await led.post("/api/v1/election/step-down", json={"pause": 1})
        await asyncio.sleep(LOOK_S / 2)
        await page.locator(".toast").first.wait_for(state="detached")
        await photograph(page, "dashboard-light")
        await page.emulate_media(color_scheme="dark")
        await photograph(page, "dashboard-dark")
        await page.set_viewport_size({"width": 1280, "height": 640})
        await page.goto(f"{url}/ui/jobs?{JOBS}")
        await page.locator("tbody tr").nth(9).wait_for()
        await photograph(page, "dashboard-jobs")
        await browser.close()


asyncio.run(main(sys.argv[1]))
