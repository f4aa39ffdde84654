"""`hegemon audit` against a served node: entries, a whole log, a broken one."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.secured import Secured, served
from tests.cli.conftest import Run
from tests.conftest import MongoServer


@pytest.fixture(scope="module")
def secured(mongo_server: MongoServer, server_loop: Any) -> Iterator[Secured]:
    with served(server_loop, mongo_server.uri, f"audit_cli_{time.time_ns()}") as opened:
        yield opened


@pytest.fixture
def audit(
    bare_run: Run, secured: Secured, server_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """The command, as an admin; three entries are there at least."""
    monkeypatch.setenv("HEGEMON_TOKEN", secured.tokens["admin"])
    records = [
        secured.audit.record(principal="user:ana", action="cancelJob", outcome=outcome, target=f"t{n}")
        for n, outcome in enumerate(("ok", "ok", "job_not_found"))
    ]

    def on_loop(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, server_loop).result()

    async def write() -> None:
        for record in records:
            await secured.audit.write(record, within_s=60)

    on_loop(write())
    return lambda *args, **options: bare_run("--url", secured.url, "audit", *args, **options)


def test_entries_are_listed_and_filtered(audit: Run) -> None:
    ended = audit("list", "--outcome", "failed", "--limit", "1")
    assert (ended.code, ended.err) == (0, "")
    assert "job_not_found" in ended.out
    listed = audit("list", "--principal", "user:ana", "--limit", "2", "-o", "json").json["entries"]
    assert [entry["target"] for entry in listed] == ["t2", "t1"]
    assert audit("list", "--principal", "user:nobody").err == "No entries.\n"
    assert audit("list", "--since", "yesterday").code == 4


def test_a_whole_log_is_verified_and_its_head_is_there_to_be_kept(audit: Run) -> None:
    ended = audit("verify")
    assert ended.code == 0, ended.err
    assert "all as they were written" in ended.out
    assert audit("verify", "--expect", ended.out.splitlines()[-1]).code == 0
    rolled_back = audit("verify", "--expect", f"1:{'0' * 64}")
    assert (rolled_back.code, "rolled_back" in rolled_back.out) == (1, True)


def test_a_broken_log_exits_with_1(audit: Run, secured: Secured, server_loop: asyncio.AbstractEventLoop) -> None:
    async def alter(to: str) -> None:
        await secured.audit.store._entries.update_one({"_id": 1}, {"$set": {"principal": to}})

    asyncio.run_coroutine_threadsafe(alter("user:eve"), server_loop).result()
    try:
        ended = audit("verify")
        assert (ended.code, "entry 1 is not as it was written" in ended.out) == (1, True)
        assert audit("verify", "-o", "json").json["ok"] is False
    finally:
        asyncio.run_coroutine_threadsafe(alter("user:ana"), server_loop).result()
