"""Redis and MongoDB over TLS with passwords: who has what it takes works, who lacks any of it does not."""

import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pymongo import MongoClient

from hegemon.cluster.settings import load
from hegemon.queue import mongo
from hegemon.queue.errors import StoreUnavailable, WrongStore
from hegemon.queue.redis import Redis
from tests.certificates import Authority
from tests.cluster.tls_stores import ESCAPED, TlsMongo, tls_redis
from tests.nodes import node

TIMEOUT = timedelta(seconds=60)
# A store that refuses us is asked until this is over.
SHORT = timedelta(seconds=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certs"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis_port(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    async with tls_redis(tmp_path_factory.mktemp("redis"), authority) as port:
        yield port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mongod(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TlsMongo]:
    server = TlsMongo(tmp_path_factory.mktemp("mongod"), authority)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


@pytest.fixture
def environment(authority: Authority, redis_port: int, mongod: TlsMongo) -> dict[str, str]:
    """All that a node needs to reach both."""
    files = authority.write("n1")
    return {
        "REDIS_URL": f"rediss://:{ESCAPED}@localhost:{redis_port}/0",
        "REDIS_TLS_CA_FILE": str(authority.certificate),
        "REDIS_TLS_CERT_FILE": str(files.certificate),
        "REDIS_TLS_KEY_FILE": str(files.key),
        "MONGODB_URI": mongod.uri,
        "MONGODB_DATABASE": "tls",
        "MONGODB_TLS_CA_FILE": str(authority.certificate),
        "MONGODB_TLS_KEY_FILE": str(files.both),
    }


async def ping_redis(environment: dict[str, str], timeout: timedelta) -> None:
    redis = Redis(load(environment, None).store.redis_url, "test", timeout=timeout, confirm=False)
    try:
        await redis.check_server()
    finally:
        await redis.close()


async def ping_mongo(environment: dict[str, str], timeout: timedelta) -> None:
    client = mongo.connect(load(environment, None).store.mongodb_uri_with_tls, timeout=timeout)
    try:
        async with mongo.translated():
            await client["tls"].command("count", "jobs")
    finally:
        client.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_node_works_on_stores_that_ask_for_tls_certificates_and_passwords(environment: dict[str, str]) -> None:
    async with node(environment, start=False) as started:
        await started.start(170.0)
        job = await started.wait(await started.submit("echo", {"over": "tls"}))
        assert (job["status"], job["result"]) == ("completed", {"over": "tls"})
        assert "p@ss" not in started.log
        assert ESCAPED not in started.log


@pytest.mark.asyncio(loop_scope="module")
async def test_a_redis_is_not_spoken_to_with_anything_missing(
    environment: dict[str, str], authority: Authority, tmp_path: Path, redis_port: int
) -> None:
    await ping_redis(environment, TIMEOUT)
    stranger = Authority(tmp_path / "stranger")
    without_client = {name: text for name, text in environment.items() if "_CERT_" not in name and "_KEY_" not in name}
    plain = {"REDIS_URL": f"redis://:{ESCAPED}@localhost:{redis_port}/0"}
    wrong: list[dict[str, str]] = [
        environment | {"REDIS_TLS_CA_FILE": str(stranger.certificate)},
        environment | {"REDIS_URL": environment["REDIS_URL"].replace(ESCAPED, "wrong")},
        # The certificate is for localhost and 127.0.0.1, not for every name of this machine.
        environment | {"REDIS_URL": f"rediss://:{ESCAPED}@127.0.0.2:{redis_port}/0"},
        without_client,
        plain,
    ]
    for changed in wrong:
        with pytest.raises(StoreUnavailable):
            await ping_redis(changed, SHORT)


@pytest.mark.asyncio(loop_scope="module")
async def test_files_that_are_being_replaced_while_redis_is_away_do_not_end_a_node(
    environment: dict[str, str], tmp_path: Path
) -> None:
    mine = tmp_path / "ca.pem"
    shutil.copy(environment["REDIS_TLS_CA_FILE"], mine)
    changed = environment | {"REDIS_TLS_CA_FILE": str(mine)}
    redis = Redis(load(changed, None).store.redis_url, "test", timeout=TIMEOUT, confirm=False)
    try:
        await redis.check_server()
        mine.unlink()
        await redis.drop_connections()
        # By the files as they were.
        await redis.check_server()
        shutil.copy(Authority(tmp_path / "stranger").certificate, mine)
        await redis.drop_connections()
        with pytest.raises(StoreUnavailable):
            await redis.check_server()
    finally:
        await redis.close()
    with pytest.raises(WrongStore, match="No such file"):
        await ping_redis(environment | {"REDIS_URL": f"{changed['REDIS_URL']}?ssl_ca_certs={tmp_path}/none"}, TIMEOUT)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_mongodb_is_not_spoken_to_with_anything_missing(environment: dict[str, str], tmp_path: Path) -> None:
    await ping_mongo(environment, TIMEOUT)
    stranger = Authority(tmp_path / "stranger")
    without_client = {name: text for name, text in environment.items() if name != "MONGODB_TLS_KEY_FILE"}
    plain = {name: text for name, text in without_client.items() if name != "MONGODB_TLS_CA_FILE"}
    wrong = [environment | {"MONGODB_TLS_CA_FILE": str(stranger.certificate)}, without_client, plain]
    for changed in wrong:
        with pytest.raises(StoreUnavailable):
            await ping_mongo(changed, SHORT)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_password_of_mongodb_is_refused(environment: dict[str, str]) -> None:
    changed = environment | {"MONGODB_URI": environment["MONGODB_URI"].replace(ESCAPED, "wrong")}
    with pytest.raises(Exception, match="Authentication failed"):
        await ping_mongo(changed, TIMEOUT)


def _uri(**environment: str) -> str:
    return load(environment, None).store.mongodb_uri_with_tls


def test_files_become_parameters_that_the_drivers_read(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "the authority&1")
    ca, key = authority.certificate, authority.write("n1").both
    uri = _uri(MONGODB_URI="mongodb://u:p%40@h:1", MONGODB_TLS_CA_FILE=str(ca), MONGODB_TLS_KEY_FILE=str(key))
    options: dict[str, Any] = dict(MongoClient[dict[str, Any]](uri, connect=False).options._options)
    assert uri.startswith("mongodb://u:p%40@h:1/?tls=true&tlsCAFile=")
    assert options["tls"] is True
    given = "mongodb://a,b/db?w=1&tls=true&tlsCAFile=/x"
    assert _uri(MONGODB_URI=given, MONGODB_TLS_CA_FILE=str(ca)) == given
    assert _uri(MONGODB_URI="mongodb://a,b/db?w=1") == "mongodb://a,b/db?w=1"
    redis = load({"REDIS_URL": "rediss://h:1/2", "REDIS_TLS_CA_FILE": str(ca)}, None).store.redis_url
    assert Redis(redis, "c", timeout=TIMEOUT)._options["ssl_ca_certs"] == str(ca)
