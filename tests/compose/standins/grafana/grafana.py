"""Stands in for Grafana, which cannot be had here: it serves what Grafana's provisioning would have read.

Data sources and dashboards by the paths that Grafana's API has, to the admin of GF_SECURITY_ADMIN_PASSWORD alone, from
the files that are mounted. It draws nothing, and proves nothing about Grafana itself.
"""

import base64
import json
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

PROVISIONING = Path("/etc/grafana/provisioning")
DATA = Path("/var/lib/grafana")


def provisioned(kind: str, key: str) -> list[Any]:
    """All entries of one kind of provisioning file; a broken file is an error, as it is to Grafana."""
    found: list[Any] = []
    for file in sorted((PROVISIONING / kind).glob("*.y*ml")):
        # Grafana takes $NAME and ${NAME} from its environment.
        found += yaml.safe_load(os.path.expandvars(file.read_text())).get(key) or []
    return found


def dashboards() -> list[Any]:
    """The dashboards under the paths that the providers name."""
    found: list[Any] = []
    for provider in provisioned("dashboards", "providers"):
        found += [json.loads(file.read_text()) for file in sorted(Path(provider["options"]["path"]).rglob("*.json"))]
    return found


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/api/health":
            return self.answer(200, {"database": "ok"})
        user, password = os.environ["GF_SECURITY_ADMIN_USER"], os.environ["GF_SECURITY_ADMIN_PASSWORD"]
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            return self.answer(401, {"message": "Unauthorized"})
        if self.path == "/api/datasources":
            return self.answer(200, provisioned("datasources", "datasources"))
        if self.path == "/api/search?type=dash-db":
            return self.answer(200, [{"uid": each["uid"], "title": each["title"]} for each in dashboards()])
        for each in dashboards():
            if self.path == f"/api/dashboards/uid/{each['uid']}":
                return self.answer(200, {"dashboard": each})
        return self.answer(404, {"message": "Not found"})

    def answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Said by nobody."""


if __name__ == "__main__":
    # Process 1 of a container gets no signal that it has not asked for.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    (DATA / "grafana.db").touch()  # its volume must be its own
    # What is broken is said at the start, as Grafana does.
    provisioned("datasources", "datasources")
    dashboards()
    ThreadingHTTPServer(("", 3000), Handler).serve_forever()
