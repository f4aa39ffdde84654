"""What Prometheus and the dashboards are asked."""

from __future__ import annotations

import re
from typing import Any

import httpx

from tests.compose.cluster import PROMETHEUS


async def query(client: httpx.AsyncClient, expression: str) -> list[dict[str, Any]]:
    answer = await client.post(f"{PROMETHEUS}/api/v1/query", data={"query": expression})
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    result = answer.json()["data"]["result"]
    assert isinstance(result, list)
    return result


def expressions_of(part: Any) -> list[str]:
    """Every expression of every panel, rows included."""
    found: list[str] = []
    for panel in part.get("panels", []):
        found += [target["expr"] for target in panel.get("targets", []) if target.get("expr")]
        found += expressions_of(panel)
    return found


def filled_in(expression: str) -> str:
    """With what Grafana would put in place of the variables."""
    for name, value in {"cluster": "hegemon", "__rate_interval": "1m", "__interval": "15s", "__range": "15m"}.items():
        expression = re.sub(rf"\$(\{{{name}(:\w+)?\}}|{name}\b)", value, expression)
    return re.sub(r"\$(\{\w+(:\w+)?\}|\w+)", ".*", expression)
