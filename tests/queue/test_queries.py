"""Reading and removing jobs."""

import asyncio
from typing import Any

import pytest

from hegemon.queue import queries
from hegemon.queue.errors import InvalidJob, StoreUnavailable
from hegemon.queue.queries import JobQueries
from hegemon.queue.states import Status
from tests.engine.parts import NOW_MS, Jobs, document
from tests.waiting import PATIENCE_S

DAY_MS = 86_400_000


async def test_pages_go_from_the_newest_and_inserts_meanwhile_neither_repeat_nor_hide_a_job(jobs: Jobs) -> None:
    items = [document(n) for n in range(7)]
    await jobs.put(*items)
    seen, cursor = await jobs.queries.page({}, limit=3, cursor=None)
    while cursor is not None:
        await jobs.put(document())
        page, cursor = await jobs.queries.page({}, limit=3, cursor=cursor)
        seen += page
    assert [item["_id"] for item in seen] == [item["_id"] for item in reversed(items)]


async def test_a_last_page_that_is_full_has_no_cursor(jobs: Jobs) -> None:
    await jobs.put(document(1), document(2))
    page, cursor = await jobs.queries.page({}, limit=2, cursor=None)
    assert (len(page), cursor) == (2, None)


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "1" * 24, "é"])
async def test_a_cursor_that_no_page_gave_is_refused(jobs: Jobs, cursor: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        await jobs.queries.page({}, limit=2, cursor=cursor)
    assert refused.value.field == "cursor"


async def test_counts_name_every_status(jobs: Jobs) -> None:
    await jobs.put(document(1), document(2), document(3, more={"status": "failed"}))
    assert await jobs.queries.counts() == dict.fromkeys(Status, 0) | {"pending": 2, "failed": 1}


async def test_live_documents_come_in_the_order_of_their_sequence(jobs: Jobs) -> None:
    items = [document(seq) for seq in (30, 10, 20)]
    await jobs.put(*items, document(5, more={"status": "completed"}))
    pages = [page async for page in jobs.queries.live_in_order()]
    assert pages == [[items[1]["_id"], items[2]["_id"], items[0]["_id"]]]


async def test_a_sweep_finds_what_an_incarnation_must_have_indexed(jobs: Jobs) -> None:
    mine, ended = document(1), document(2, more={"status": "completed"})
    theirs = document(3, more={"origin": {"node": "n2", "incarnation": "n2~0"}})
    await jobs.put(mine, ended, theirs)
    assert [page async for page in jobs.queries.live_of("n1~0")] == [[mine["_id"]]]


async def test_the_audit_leaves_out_what_is_too_young(jobs: Jobs) -> None:
    old, young = document(now_ms=NOW_MS - 1), document(now_ms=NOW_MS)
    await jobs.put(old, young)
    assert await jobs.queries.live_page("", NOW_MS, 10) == [old["_id"]]


async def test_what_ended_or_is_gone_counts_as_ended(jobs: Jobs) -> None:
    live, ended, gone = document(1), document(2, more={"status": "failed"}), document(3)
    await jobs.put(live, ended)
    assert await jobs.queries.ended([item["_id"] for item in (live, ended, gone)]) == {ended["_id"], gone["_id"]}


async def test_removing_touches_ended_jobs_only_and_keeps_the_books(jobs: Jobs) -> None:
    items = [document(n, more={"status": status.value}) for n, status in enumerate(Status)]
    await jobs.put(*items)
    assert await jobs.queries.remove({"_id": {"$in": [item["_id"] for item in items]}}, "request") == 3
    assert await jobs.queries.remove({"_id": items[0]["_id"]}, "request") == 0
    left = await jobs.queries.counts()
    assert {status for status, count in left.items() if count} == {"scheduled", "pending", "running", "retrying"}
    assert (await jobs.queries._meta.find_one({"_id": "removed"})) == {"_id": "removed", "request": 3}


async def test_removals_at_once_by_one_node_and_by_several_are_all_done_and_all_in_the_books(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "TURN_S", PATIENCE_S)
    items = [document(n, more={"status": "failed"}) for n in range(24)]
    await jobs.put(*items)
    nodes = [jobs.queries, *(JobQueries(jobs.client, jobs.queries._database) for _ in range(2))]
    removals = (nodes[n % 3].remove({"_id": item["_id"]}, "request") for n, item in enumerate(items))
    assert await asyncio.gather(*removals) == [1] * 24
    assert (await jobs.queries._meta.find_one({"_id": "removed"})) == {"_id": "removed", "request": 24}


async def test_a_removal_whose_turn_does_not_come_is_told_so_and_removes_nothing(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await jobs.put(item := document(more={"status": "failed"}))
    monkeypatch.setattr(queries, "TURN_S", 0.0)
    async with jobs.queries._books:
        with pytest.raises(StoreUnavailable, match="no turn"):
            await jobs.queries.remove({"_id": item["_id"]}, "request")
    monkeypatch.setattr(queries, "TURN_S", 10.0)
    assert await jobs.queries.remove({"_id": item["_id"]}, "request") == 1


async def test_retention_removes_what_ended_before_its_time_and_nothing_live(jobs: Jobs) -> None:
    old: dict[str, Any] = {"now_ms": NOW_MS - 10 * DAY_MS}
    done, before = {"status": "completed"}, {"completed_at": NOW_MS - 8 * DAY_MS}
    gone = [document(n, more=done | before, **old) for n in range(5)]
    ran_long = document(more=done | {"completed_at": NOW_MS}, **old)
    live, dead = document(**old), document(more={"status": "failed", "completed_at": 0}, **old)
    young = document(more=done | {"completed_at": NOW_MS}, now_ms=NOW_MS)
    await jobs.put(*gone, ran_long, live, dead, young)
    removed, after = 0, ""
    following: str | None = after
    while following is not None:
        count, following = await jobs.queries.prune(Status.COMPLETED, NOW_MS - 7 * DAY_MS, following, limit=2)
        removed += count
    assert removed == 5
    kept = {item["_id"] for item in (ran_long, live, dead, young)}
    assert set(await jobs.queries.many([item["_id"] for item in gone] + sorted(kept))) == kept
    assert (await jobs.queries._meta.find_one({"_id": "removed"})) == {"_id": "removed", "retention": 5}


async def test_an_id_that_cannot_be_one_is_answered_without_the_store(jobs: Jobs) -> None:
    jobs.client.close()
    assert await jobs.queries.get("no-such") is None
