"""What security costs: single submits over HTTPS with authentication and limits, against the same node without them.

Both run on the same stores, one after the other within each round, over connections that are kept open.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks import load, processes
from benchmarks.cluster import Node
from benchmarks.drain import NOOP
from benchmarks.figures import Figure, Findings, at_least
from benchmarks.plan import Plan
from hegemon.auth.certificates import issue, make_authority, write_pair

CONNECTIONS = 64
PASSWORD = secrets.token_urlsafe(20)
# Above what can be reached: what the limits cost is measured, and nobody is limited.
NO_LIMIT = "900000/s"


def _certificate(directory: Path) -> dict[str, str]:
    """A CA and a certificate of the node, and the settings that name them."""
    now = datetime.now(UTC)
    authority = make_authority("benchmark", now=now)
    write_pair(authority, directory / "ca.pem", directory / "ca-key.pem")
    pair = issue(authority, name="node", hosts=("127.0.0.1",), now=now, days=30)
    write_pair(pair, directory / "node.pem", directory / "node-key.pem")
    return {
        "TLS_ENABLED": "true",
        "TLS_CERT_FILE": str(directory / "node.pem"),
        "TLS_KEY_FILE": str(directory / "node-key.pem"),
        "AUTH_ENABLED": "true",
        "JWT_SECRET": secrets.token_hex(32),
        "ADMIN_PASSWORD": PASSWORD,
        "RATE_LIMIT_PER_ADDRESS": NO_LIMIT,
        "RATE_LIMIT_PER_PRINCIPAL": NO_LIMIT,
    }


async def _log_in(node: Node) -> str:
    reply = await node.http.post("/auth/login", json={"username": "admin", "password": PASSWORD})
    assert reply.status_code == 200, reply.text
    token: str = reply.json()["access_token"]
    node.http.headers["Authorization"] = f"Bearer {token}"
    return token


async def _measure(node: Node, seconds: float, token: str | None) -> tuple[load.Report, dict[str, float]]:
    order = load.Order(
        port=int(node.environment["SERVER_PORT"]),
        path="/api/v1/jobs",
        body=json.dumps(NOOP),
        connections=CONNECTIONS,
        seconds=seconds,
        headers={} if token is None else {"Authorization": f"Bearer {token}"},
        ca_file=None if token is None else str(node.stores.directory / "ca.pem"),
    )
    async with node.backlog() as go:
        await load.generate(msgspec.structs.replace(order, seconds=1.0))
        before = processes.cpu_of(node.pids)
        report = await load.generate(order)
        after = processes.cpu_of(node.pids)
        go.touch()
        stored = await node.jobs.count_documents({"type": NOOP["type"]})
    assert report.accepted, f"nothing was accepted: {report.refused}"
    assert stored >= report.accepted, f"{report.accepted} acknowledged, {stored} in MongoDB"
    return report, {name: 1e6 * (after[name] - before[name]) / report.accepted for name in after}


async def https(plan: Plan) -> Findings:
    """Single submits over HTTPS with authentication and limits, beside plain ones in each round."""
    secured = _certificate(plan.stores.directory)
    plain, safe = [], []
    for number in range(plan.rounds):
        # The other way round in every second round, so that a machine that gets slower favours neither.
        for kind in ("plain", "secured") if number % 2 == 0 else ("secured", "plain"):
            if kind == "plain":
                async with plan.stores.node() as node:
                    plain.append(await _measure(node, plan.seconds(10, 3), None))
            else:
                async with plan.stores.node(**secured) as node:
                    safe.append(await _measure(node, plan.seconds(10, 3), await _log_in(node)))
        plan.say(f"round {number + 1}: plain {plain[-1][0].rate:,.0f}/s, secured {safe[-1][0].rate:,.0f}/s")
    return Findings(
        [
            Figure("single submits, plain HTTP, no authentication", "jobs/s", [report.rate for report, _ in plain]),
            Figure("single submits, HTTPS, token, limits", "jobs/s", [report.rate for report, _ in safe]),
            Figure(
                "secured, of plain",
                "ratio",
                [s.rate / p.rate for (s, _), (p, _) in zip(safe, plain, strict=True)],
                at_least(0.7),
            ),
            Figure("plain: CPU of control", "µs/job", [cpu["control"] for _, cpu in plain]),
            Figure("secured: CPU of control", "µs/job", [cpu["control"] for _, cpu in safe]),
            Figure("plain: answer, p99", "ms", [report.p99_ms for report, _ in plain]),
            Figure("secured: answer, p99", "ms", [report.p99_ms for report, _ in safe]),
        ],
        {"plain": plain, "secured": safe},
    )
