"""Draws grafana-*.svg: every panel of every dashboard, at its place, with what a real Prometheus answered.

`python docs/pictures/draw_monitoring.py http://127.0.0.1:8080` beside a running `./dev up --nodes 3 --algorithm raft`.
It works the cluster for LOOK_S seconds, kills the leader on the way (`up` starts it again), and needs Prometheus. The
ranges of the recording rules are sixty times shorter than yours, so that there is something to see after minutes.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from plot_panels import Answer, picture  # noqa: E402

from hegemon.monitoring.grafana.dashboard import dashboard_json  # noqa: E402
from hegemon.monitoring.grafana.pages import DASHBOARDS  # noqa: E402
from tests.monitoring.observers import Prometheus, prometheus  # noqa: E402

IMAGES: Final = ROOT / "docs" / "images"
LOOK_S: Final = float(os.environ.get("LOOK_S", "240"))
STEP_S: Final = 2.0


def resolved(expr: str, cluster: str) -> str:
    """As Grafana asks it, with everything chosen."""
    found = expr.replace("$cluster", cluster).replace("$node", ".*").replace("$queue", ".*")
    return found.replace("$__rate_interval", "8s").replace("$__range", f"{int(LOOK_S)}s")


def legend(pattern: str, labels: dict[str, str]) -> str:
    """The name of a series."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), pattern)


async def answer(observer: Prometheus, panel: dict[str, Any], cluster: str, span: tuple[float, float]) -> Answer:
    """What Prometheus has for it."""
    curves, now, rows = [], [], {}
    for target in panel["targets"]:
        expr = resolved(target["expr"], cluster)
        name = target["legendFormat"].replace("__auto", "")
        for labels, value in await observer.ask(expr):
            now.append((legend(name, labels), value))
            rows.setdefault(labels.get("node", ""), {})[name] = value
        if panel["type"] in {"timeseries", "state-timeline"}:
            for series in await observer.curves(expr, *span, STEP_S):
                points = [(at, float(value)) for at, value in series["values"]]
                points = [(at, value) for at, value in points if math.isfinite(value)]
                curves.append((legend(name, series["metric"]), points))
    if panel["type"] == "timeseries":
        curves.sort(key=lambda one: -max((value for _, value in one[1]), default=0))
    elif panel["type"] == "state-timeline":
        curves.sort()
    return Answer([one for one in curves if one[1]], now, rows)


async def work(api: httpx.AsyncClient) -> None:
    """An ordinary day in minutes: mail, reports, a large batch, and now and then a failure."""
    began, drawn = time.monotonic(), random.Random(1)
    while (gone := time.monotonic() - began) < LOOK_S:
        many = 12 if gone % 80 < 60 else 45
        jobs: list[dict[str, Any]] = [
            {"type": "sleep", "queue": "mail", "payload": {"seconds": drawn.expovariate(12)}} for _ in range(many)
        ]
        jobs += [{"type": "echo", "queue": "reports", "payload": {}, "delay": drawn.uniform(1, 9)} for _ in range(3)]
        if drawn.random() < 0.25:
            jobs.append({"type": "fail", "queue": "mail", "payload": {"times": 9}, "max_retries": drawn.choice((0, 1))})
        try:
            await api.post("/api/v1/jobs/batch", json={"jobs": jobs})
            await api.get("/api/v1/stats")
        except httpx.TransportError:
            pass  # this node was the leader
        await asyncio.sleep(0.3)


async def process_of(api: httpx.AsyncClient, node: str) -> int:
    """The control process of a node on this machine: its workers' parent."""
    workers = (await api.get("/api/v1/workers")).raise_for_status().json()["workers"]
    worker = next(one for one in workers if one["id"].startswith(f"{node}."))
    status = await asyncio.to_thread(Path(f"/proc/{worker['pid']}/status").read_text)
    return int(re.findall(r"^PPid:\s+(\d+)", status, re.MULTILINE)[0])


async def main(url: str) -> None:
    """All pictures."""
    with tempfile.TemporaryDirectory() as place:
        async with httpx.AsyncClient(base_url=url, timeout=10.0) as api:
            nodes = (await api.get("/api/v1/nodes")).raise_for_status().json()["nodes"]
            leader = (await api.get("/api/v1/leader")).json()
            others = [node["url"] for node in nodes if node["url"] != leader["url"]]
            cluster = (await api.get("/api/v1/cluster")).json()["cluster_id"]
            targets = [urlsplit(node["url"]).netloc for node in nodes]
            async with (
                prometheus(Path(place) / "prometheus", targets, cluster=cluster, scale=1 / 60, scrape_s=1) as observer,
                httpx.AsyncClient(base_url=others[0], timeout=10.0) as other,
            ):
                start = time.time() + 10
                load = asyncio.create_task(work(other))
                await asyncio.sleep(LOOK_S * 0.6)
                os.kill(await process_of(api, leader["leader_id"]), signal.SIGKILL)
                await asyncio.sleep(LOOK_S * 0.4 - 5)
                await draw(observer, cluster, (start, time.time() - 1))
                await load


async def draw(observer: Prometheus, cluster: str, span: tuple[float, float]) -> None:
    """One file a dashboard."""
    IMAGES.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        page = dashboard_json(dashboard)
        expr = resolved(page["annotations"]["list"][0]["expr"].replace("[1m]", "[4s]"), cluster)
        marks: list[float] = []
        for series in await observer.curves(expr, *span, STEP_S):
            for at, _ in series["values"]:
                if not marks or at - marks[-1] > 10:
                    marks.append(at)
        answers = {
            panel["id"]: await answer(observer, panel, cluster, span)
            for panel in page["panels"]
            if panel["type"] != "row"
        }
        path = IMAGES / f"grafana-{dashboard.name}.svg"
        path.write_text(picture(page, answers, marks, span), encoding="utf-8")
        sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


asyncio.run(main(sys.argv[1]))
