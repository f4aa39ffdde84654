"""A real Prometheus, a real Alertmanager and a webhook that hears it, on ports of 127.0.0.1 that nobody else has."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from hegemon.monitoring.export import alert_file, recording_file
from tests.monitoring.programs import program
from tests.nodes import free_port
from tests.waiting import wait_until

# Long enough for a scrape on a busy machine.
SCRAPE_S: Final = 2


class Server:
    """A program that answers under `url`."""

    def __init__(self, command: Sequence[str], directory: Path, port: int, ready: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = directory / "log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.client = httpx.AsyncClient(base_url=self.url, timeout=30.0)
        self._ready = ready

    async def until_ready(self) -> None:
        """Wait until it says so; fails with its log when it ends before."""

        async def answers() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            try:
                return (await self.client.get(self._ready)).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(answers, message=f"{self.url} to be ready")

    async def close(self) -> None:
        """Its data is thrown away, so its end need not be orderly."""
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        await self.client.aclose()


class Prometheus(Server):
    """`ask` is its HTTP API."""

    async def ask(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of all series that the expression has now; what is no number is left out."""
        reply = await self.client.post("/api/v1/query", data={"query": expr})
        answer = reply.json()
        assert answer["status"] == "success", f"{expr}: {answer}"
        data = answer["data"]
        assert data["resultType"] == "vector", f"{expr}: {data['resultType']}"
        found = [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]
        return [(labels, value) for labels, value in found if math.isfinite(value)]

    async def curves(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """As its API gives a range."""
        asked = {"query": expr, "start": start, "end": end, "step": step}
        answer = (await self.client.post("/api/v1/query_range", data=asked)).raise_for_status().json()
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


class Webhook:
    """What Alertmanager says of each alert, the last word by its labels."""

    def __init__(self) -> None:
        self.url = ""
        self._lock = threading.Lock()
        self._said: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}

    def take(self, body: Mapping[str, Any]) -> None:
        """A notification, whose alerts have a status each."""
        with self._lock:
            for alert in body["alerts"]:
                self._said[frozenset(alert["labels"].items())] = alert

    def heard(self, name: str, status: str, **labels: str) -> list[dict[str, Any]]:
        """The alerts of this name and these labels that are now so: firing or resolved."""
        wanted = {("alertname", name), *labels.items()}
        with self._lock:
            return [alert for key, alert in self._said.items() if wanted <= key and alert["status"] == status]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """It listens for the length of the block."""
    heard = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", free_port()), Handler) as server:
        heard.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, name="webhook")
        thread.start()
        try:
            yield heard
        finally:
            server.shutdown()
            thread.join()


@asynccontextmanager
async def alertmanager(directory: Path, hears: Webhook) -> AsyncIterator[Server]:
    """It tells the webhook of everything at once."""
    config = {
        "route": {
            "receiver": "test",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "test", "webhook_configs": [{"url": hears.url, "send_resolved": True}]}],
    }
    _write(directory, {"alertmanager.yml": yaml.safe_dump(config)})
    port = free_port()
    command = [
        program("alertmanager"),
        "--config.file=alertmanager.yml",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    server = Server(command, directory, port, "/-/ready")
    try:
        await server.until_ready()
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def prometheus(
    directory: Path,
    targets: Sequence[str],
    *,
    cluster: str,
    tells: str | None = None,
    scale: float = 1.0,
    scrape_s: float = SCRAPE_S,
) -> AsyncIterator[Prometheus]:
    """It scrapes HOST:PORT of each node, under the rules of Hegemon with their times shortened by `scale`; `tells` is
    HOST:PORT of an Alertmanager."""
    interval = f"{round(scrape_s * 1000)}ms"
    config: dict[str, Any] = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": "1s"},
        "rule_files": ["rules.yml", "alerts.yml"],
        "scrape_configs": [
            {
                "job_name": "hegemon",
                "honor_labels": True,
                "static_configs": [{"targets": list(targets), "labels": {"cluster": cluster}}],
            }
        ],
    }
    if tells:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [tells]}]}]}
    rules = {"rules.yml": recording_file(scale=scale), "alerts.yml": alert_file(scale=scale)}
    _write(directory, rules | {"prometheus.yml": yaml.safe_dump(config)})
    port = free_port()
    command = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    server = Prometheus(command, directory, port, "/-/ready")
    try:
        await server.until_ready()
        yield server
    finally:
        await server.close()


def _write(directory: Path, files: Mapping[str, str]) -> None:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
