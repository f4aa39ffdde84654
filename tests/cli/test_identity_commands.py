"""`hegemon login`, `user`, `key` and `token` against a real node that wants credentials, and the client's renewals."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from hegemon.cli import login_file
from hegemon.cli.app import run
from hegemon.cli.exits import ExitCode
from hegemon.client import ApiError, AsyncClient, Client
from tests.api.guarded import Guarded, open_guarded
from tests.auth.parts import OPTIONS, PASSWORD
from tests.conftest import MongoServer


@pytest.fixture(scope="module")
def guarded(mongo_server: MongoServer, server_loop: asyncio.AbstractEventLoop) -> Iterator[Guarded]:
    database = f"test_commands_{uuid.uuid4().hex[:12]}"
    opened = open_guarded(mongo_server.uri, database)

    def wait_for(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, server_loop).result()

    yield wait_for(opened.__aenter__())
    wait_for(opened.__aexit__(None, None, None))
    with MongoClient[dict[str, Any]](mongo_server.uri) as client:
        client.drop_database(database)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own folder, with nothing in the environment."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("HEGEMON_TOKEN", "HEGEMON_API_KEY", "HEGEMON_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class Shell:
    """Runs command lines of one user in this process."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self.errors = ""

    def __call__(self, *args: str, typed: str = "", code: ExitCode = ExitCode.OK) -> str:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        ended = run(["--url", self._url, *args])
        captured = self._capfd.readouterr()
        self.errors = captured.err
        assert ended == code, captured
        return captured.out.strip()


@pytest.fixture
def shell(guarded: Guarded, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(guarded.url, monkeypatch, capfd)


def log_in(shell: Shell) -> None:
    assert OPTIONS.admin_password is not None
    assert "admin" in shell("login", "admin", "--password-stdin", typed=OPTIONS.admin_password + "\n")


def test_a_login_is_kept_for_the_commands_after_it_and_readable_by_nobody_else(shell: Shell, home: Path) -> None:
    shell("job", "list", code=ExitCode.REFUSED)
    assert "hegemon login" in shell.errors
    log_in(shell)
    (kept,) = (home / "hegemon").glob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert shell("whoami") == "user:admin (admin, all queues)"
    shell("logout")
    shell("whoami", code=ExitCode.REFUSED)
    assert "token" not in kept.read_text()


def test_users_are_added_changed_disabled_and_removed(shell: Shell) -> None:
    log_in(shell)
    shell("user", "add", "bob", "--role", "viewer", "--queue", "mail", "--password-stdin", typed=PASSWORD + "\n")
    (bob,) = [user for user in json.loads(shell("user", "list", "-o", "json")) if user["name"] == "bob"]
    assert (bob["role"], bob["queues"], bob["disabled"]) == ("viewer", ["mail"], False)
    shell("user", "change", "bob", "--role", "worker", "--all-queues")
    shell("user", "disable", "bob")
    assert "disabled" in shell("user", "list")
    shell("user", "enable", "bob")
    shell("user", "passwd", "bob", "--password-stdin", typed="a bridge of nine arches\n")
    shell("user", "remove", "bob")
    shell("user", "disable", "bob", code=ExitCode.NOT_FOUND)
    shell("user", "add", "eve", "--password-stdin", typed="short\n", code=ExitCode.REFUSED)
    assert "short" not in shell.errors


def test_a_key_and_a_token_open_the_door(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(shell)
    key = shell("key", "add", "the shop", "--role", "worker", "--queue", "mail", "--expires-in", "1h")
    token = shell("token", "shop", "--ttl", "1m")
    assert key.startswith("hgm_")
    (listed,) = json.loads(shell("key", "list", "-o", "json"))
    assert key not in shell("key", "list")
    shell("logout")
    assert "worker" in shell("--token", token, "whoami")
    assert shell("logout") == "not logged in"
    monkeypatch.setenv("HEGEMON_API_KEY", key)
    assert shell("whoami") == f"key:{listed['id']} (worker, queues mail)"
    shell("user", "list", code=ExitCode.REFUSED)
    monkeypatch.delenv("HEGEMON_API_KEY")
    log_in(shell)
    shell("key", "revoke", listed["id"])
    shell("logout")


def test_a_token_is_revoked_by_the_id_that_was_shown_with_it(shell: Shell) -> None:
    log_in(shell)
    issued = json.loads(shell("token", "shop", "-o", "json"))
    assert f"--revoke {issued['id']}" not in shell("token", "mail")
    assert "hegemon token --revoke" in shell.errors
    assert "service:shop" in shell("--token", issued["token"], "whoami")
    shell("token", "--revoke", issued["id"])
    shell("--token", issued["token"], "whoami", code=ExitCode.REFUSED)
    for wrong in ([], ["shop", "--revoke", "x"]):
        shell("token", *wrong, code=ExitCode.USAGE)


def test_everybody_changes_their_own_password_and_stays_logged_in(shell: Shell) -> None:
    log_in(shell)
    new = "a bridge of nine arches"
    shell("user", "add", "dora", "--password-stdin", typed=PASSWORD + "\n")
    shell("login", "dora", "--password-stdin", typed=PASSWORD + "\n")
    shell("user", "passwd", "--password-stdin", typed=f"wrong wrong wrong\n{new}\n", code=ExitCode.REFUSED)
    shell("user", "passwd", "--password-stdin", typed=f"{PASSWORD}\n{new}\n")
    assert shell("whoami").startswith("user:dora ")
    shell("login", "dora", "--password-stdin", typed=PASSWORD + "\n", code=ExitCode.REFUSED)
    log_in(shell)
    key = shell("key", "add", "no person")
    shell("--token", key, "user", "passwd", "--password-stdin", typed=f"{new}\n{new}\n", code=ExitCode.USAGE)
    shell("user", "remove", "dora")


def test_a_login_is_kept_beside_a_token_in_the_environment_which_goes_before_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEGEMON_API_KEY", "hgm_wrong_key")
    log_in(shell)
    assert "HEGEMON_API_KEY is set" in shell.errors
    shell("whoami", code=ExitCode.REFUSED)
    monkeypatch.delenv("HEGEMON_API_KEY")
    assert shell("whoami").startswith("user:admin ")


def test_a_password_is_never_asked_for_where_nobody_can_type(shell: Shell) -> None:
    shell("login", "admin", code=ExitCode.USAGE)
    assert "--password-stdin" in shell.errors


def test_a_client_renews_its_login_for_all_of_its_threads_at_once(guarded: Guarded, home: Path) -> None:
    assert OPTIONS.admin_password is not None
    with Client(guarded.url, timeout=60) as client:
        first = client.login("admin", OPTIONS.admin_password)
        guarded.clock.forward(timedelta(minutes=11))
        with ThreadPoolExecutor(8) as pool:
            whos = list(pool.map(lambda _: client.me()["id"], range(16)))
        assert whos == ["user:admin"] * 16
        second = client._credentials.present()
        assert second is not None
        assert second.refresh_token != first.refresh_token
        client.logout()
        with pytest.raises(ApiError) as refused:
            client.me()
        assert refused.value.status == 401


async def test_the_client_for_asyncio_does_the_same(guarded: Guarded, home: Path) -> None:
    assert OPTIONS.admin_password is not None
    async with AsyncClient(guarded.url, timeout=60) as client:
        await client.login("admin", OPTIONS.admin_password)
        guarded.clock.forward(timedelta(minutes=11))
        whos = await asyncio.gather(*(client.me() for _ in range(8)))
        assert {who["id"] for who in whos} == {"user:admin"}
        await client.logout()


async def test_clients_that_share_a_login_renew_it_once(
    guarded: Guarded, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OPTIONS.admin_password is not None
    # As if an hour lay between them: a refresh token that is used twice ends the session.
    monkeypatch.setattr("hegemon.auth.sessions.REPEAT_S", -1.0)
    clients = [AsyncClient(guarded.url, timeout=60, keeper=login_file.LoginFile(guarded.url)) for _ in range(5)]
    await clients[0].login("admin", OPTIONS.admin_password)
    guarded.clock.forward(timedelta(minutes=11))
    whos = await asyncio.gather(*(client.me() for client in clients))
    assert {who["id"] for who in whos} == {"user:admin"}
    await clients[0].logout()
    for client in clients:
        await client.aclose()


def test_a_login_that_cannot_be_renewed_is_forgotten(guarded: Guarded, home: Path) -> None:
    assert OPTIONS.admin_password is not None
    keeper = login_file.LoginFile(guarded.url)
    with Client(guarded.url, timeout=60, keeper=keeper) as client:
        client.login("admin", OPTIONS.admin_password)
        guarded.clock.forward(timedelta(days=8))
        for role, token in list(guarded.tokens.items()):
            del token
            guarded.tokens[role] = guarded.identity.logins.service_token("t", role, ttl=timedelta(hours=24)).token
        with pytest.raises(ApiError):
            client.me()
    assert keeper.load() is None


def test_a_login_made_over_https_is_not_shown_to_a_node_on_plain_http(home: Path) -> None:
    from hegemon.cli import session  # noqa: PLC0415 - its state is what is tested

    session.asked(session.GlobalOptions("https://a:1", "tok"))
    try:
        assert session.credentials("https://b:1")["token"] == "tok"
        assert session.credentials("http://b:1")["token"] == ""
    finally:
        session.asked(session.GlobalOptions(session.DEFAULT_URL))
