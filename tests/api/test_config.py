"""The settings over HTTP: whole, for admins alone, and without a secret."""

from hegemon.cluster.settings import all_settings, load
from tests.api.secured import caller, open_secured
from tests.conftest import MongoServer

SECRETS = {
    "JWT_SECRET": "canary-jwt-8e1f0c6e92ab77d3548810be4f2c9d",
    "JWT_SECRET_OTHER": "canary-other-c03b9d1e75a8f24660de1b8c7a95",
    "AUDIT_KEY": "canary-audit-5e8810be4f2c9d6a53e7b1049dc2",
    "ADMIN_PASSWORD": "canary admin password of length",
    "REDIS_PASSWORD": "canary-redis",
    "MONGODB_URI": "mongodb://me:canary-mongo@127.0.0.1/?replicaSet=rs0",
    "CLUSTER_SECRET": "canary-cluster-0049dc25f8836c92ab77d3548",
}


async def test_admins_see_every_setting_and_no_secret(mongo_server: MongoServer, database: str) -> None:
    settings = load(SECRETS | {"SERVER_PORT": "8123"}, None)
    async with open_secured(mongo_server.uri, database, settings) as secured, caller(secured, "admin") as admin:
        answer = await admin.get("/api/v1/config")
    shown = answer.json()["settings"]
    assert shown.keys() == {setting.name for setting in all_settings()}
    assert (shown["SERVER_PORT"], shown["JWT_SECRET"]) == ("8123", "********")
    assert shown["MONGODB_URI"].startswith("mongodb://me:")
    assert "canary" not in answer.text
