"""A node with a canary in every secret: whatever goes wrong, no canary is in its log or in anything that it answers."""

import base64

import httpx

from hegemon.cluster.setting_forms import Secret
from hegemon.cluster.settings import all_settings
from tests.engine.conftest import Environment
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until

# What a start may take where everything else runs as well.
PATIENCE_S = 170.0
CANARIES = {
    "JWT_SECRET": "jwt-canary-1f0c6e92ab77d3548810be4f2c9d6a53",
    "JWT_SECRET_OTHER": "other-canary-c03b9d1e75a8f24660de1b8c7a953f",
    "ADMIN_PASSWORD": "admin canary of length 71b",
    "AUDIT_KEY": "audit-canary-5e8810be4f2c9d6a53e7b1049dc25f",
    "AUDIT_KEY_OTHER": "former-canary-810be4f2c9d6a53e7b1049dc25f5",
    "CLUSTER_SECRET": "cluster-canary-77d3548810be4f2c9d6a53e7b10",
    "CLUSTER_SECRET_OTHER": "cluster-former-canary-8810be4f2c9d6a53e7b104",
    "PAYLOAD_ENCRYPTION_KEYS": "k1:" + base64.b64encode(b"payload-canary-0123456789abcdef!").decode(),
}
# This one excludes a REDIS_URL; the password of that one is tried below.
ELSEWHERE = {"REDIS_PASSWORD"}
TRIED = ["wrong-password-canary", "hgm_canarykey_canarysecretcanarysecret", "eyJjYW5hcnki.eyJjYW5hcnki.Y2FuYXJ5"]


def found(text: str) -> list[str]:
    """What of the canaries stands in a text."""
    parts = [*CANARIES.values(), CANARIES["PAYLOAD_ENCRYPTION_KEYS"].partition(":")[2], *TRIED]
    return [part for part in parts if part in text]


def test_every_secret_setting_has_its_canary() -> None:
    secret = {setting.name for setting in all_settings() if isinstance(setting.form, Secret)}
    assert secret == CANARIES.keys() | ELSEWHERE


async def test_no_secret_is_in_what_a_node_writes_or_answers(environment: Environment) -> None:
    settings = {**CANARIES, "AUTH_ENABLED": "true", "LOG_LEVEL": "debug"}
    answers: list[str] = []
    async with node(environment | settings, start=False) as started:
        await started.start(PATIENCE_S)
        api = started.api

        async def ask(method: str, path: str, **options: object) -> httpx.Response:
            answer = await api.request(method, path, **options)  # type: ignore[arg-type] # httpx's own keywords
            answers.append(answer.text + str(answer.headers))
            return answer

        login = {"username": "admin", "password": CANARIES["ADMIN_PASSWORD"]}
        pair = (await api.post("/auth/login", json=login)).json()
        bearer = {"authorization": f"Bearer {pair['access_token']}"}
        for path in ("/api/v1/config", "/api/v1/audit", "/metrics", "/api/v1/cluster", "/api/v1/nodes"):
            assert (await ask("GET", path, headers=bearer)).status_code == 200, path

        async def healthy() -> bool:
            return (await ask("GET", "/health", headers=bearer)).status_code == 200

        await wait_until(healthy, message="/health to say that all is well")
        await ask("POST", "/auth/login", json={**login, "password": TRIED[0]})
        await ask("POST", "/auth/login", content=b'{"username": "admin", "password": "' + TRIED[0].encode())
        await ask("POST", "/auth/login", json={"username": "admin", "password": [TRIED[0]]})
        await ask("POST", "/auth/refresh", json={"refresh_token": TRIED[1]})
        await ask("POST", "/api/v1/users", json={"name": "a b", "password": TRIED[0]}, headers=bearer)
        await ask("GET", "/api/v1/jobs", headers={"x-api-key": TRIED[1]})
        await ask("GET", "/api/v1/jobs", headers={"authorization": f"Bearer {TRIED[2]}"})
        # A handler that fails: its error is stored and logged.
        failed = await ask(
            "POST",
            "/api/v1/jobs",
            json={"type": "no-such-handler", "expires_at": "2020-01-01T00:00:00Z"},
            headers=bearer,
        )
        await ask("GET", f"/api/v1/jobs/{failed.json().get('id', 'x')}", headers=bearer)
        await ask("GET", "/api/v1/audit", headers=bearer)
        assert await started.stop(PATIENCE_S) == 0
        log = started.log
    assert pair["access_token"] not in log
    assert pair["refresh_token"] not in log
    assert "node_started" in log
    assert found(log) == []
    assert found("".join(answers)) == []


async def test_passwords_of_the_stores_are_not_in_the_log_when_these_are_away(
    environment: Environment,
) -> None:
    away = {
        "MONGODB_URI": "mongodb://me:mongo-canary@127.0.0.1:9/?replicaSet=rs0&serverSelectionTimeoutMS=100",
        "MONGODB_TIMEOUT": "100ms",
        "REDIS_URL": "redis://:redis-canary@127.0.0.1:9/0",
        "LOG_LEVEL": "debug",
    }
    process = NodeProcess(environment | away)
    try:
        process.spawn()
        await wait_until(lambda: "waiting_for_store" in process.log, PATIENCE_S)
    finally:
        await process.close()
    assert "canary" not in process.log


async def test_a_secret_that_is_refused_is_not_shown(environment: Environment) -> None:
    weak = {
        "AUTH_ENABLED": "true",
        "JWT_SECRET": "short-canary",
        "AUDIT_KEY": "canary-too-short",
        "ADMIN_PASSWORD": "canary",
    }
    process = NodeProcess(environment | weak)
    try:
        process.spawn()
        assert await process.ended(PATIENCE_S) == 2
    finally:
        await process.close()
    assert "JWT_SECRET" in process.log
    assert "canary" not in process.log
