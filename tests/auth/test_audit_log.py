"""The audit log on a real MongoDB: one chain of many writers, nothing twice, nothing lost while the store was away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from hegemon.auth import audit_sampling
from hegemon.auth.audit import AuditLog
from hegemon.auth.audit_chain import CHECKPOINT, Entry, Head, Keys, Record
from hegemon.auth.audit_sampling import BURST, KINDS_MAX, WINDOW_S, RefusalSampler
from hegemon.auth.audit_store import AuditStore
from hegemon.auth.audit_verification import Verification, verify
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import OutcomeUnknown, StoreUnavailable
from tests.conftest import MongoServer
from tests.waiting import wait_until

KEYS = Keys([b"k" * 32])


class Trouble(AuditStore):
    """A store that can be taken away: `down` refuses all; `lose` carries appends out and loses the replies."""

    down = False
    lose = 0

    async def append(self, entries: Sequence[Entry], *, seen: Head | None, head: Head) -> bool:
        self._answer()
        done = await super().append(entries, seen=seen, head=head)
        if self.lose:
            self.lose -= 1
            self.down = True
            raise StoreUnavailable("MongoDB")
        return done

    async def walk(self, first: int, limit: int) -> list[Entry]:
        self._answer()
        return await super().walk(first, limit)

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailable("MongoDB")


@pytest.fixture
async def store(mongo_server: MongoServer, database: str) -> AsyncIterator[Trouble]:
    client = mongo.connect(mongo_server.uri, timeout=timedelta(seconds=30))
    store = Trouble(client, client[database])
    await store.prepare()
    yield store
    client.close()


def log_on(store: AuditStore, node: str = "n1", **options: Any) -> AuditLog:
    return AuditLog(store, node=node, clock=ClusterClock(), keys=options.pop("keys", KEYS), **options)


@asynccontextmanager
async def running(*logs: AuditLog) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(log.run()) for log in logs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def act(log: AuditLog, target: str, **fields: Any) -> Record:
    return log.record(principal="user:ana", action="cancelJob", outcome="ok", target=target, **fields)


async def targets(store: AuditStore) -> list[str]:
    return [entry.target for entry in await store.walk(1, 10_000)]


async def faults(store: AuditStore, **options: Any) -> set[str]:
    return {fault.kind for fault in (await verify(store, KEYS, **options)).faults}


async def test_what_was_written_is_there_once_write_returns(store: Trouble) -> None:
    log = log_on(store)
    async with running(log):
        await log.write(act(log, "j1", address="10.0.0.7", status=200, request_id="r"), within_s=60)
    (entry,) = await store.walk(1, 10)
    assert (entry.seq, entry.node, entry.principal, entry.action) == (1, "n1", "user:ana", "cancelJob")
    assert (entry.target, entry.address, entry.status, entry.request_id) == ("j1", "10.0.0.7", 200, "r")
    assert await faults(store) == set()


async def test_many_nodes_write_one_chain_and_nobody_loses_an_entry(store: Trouble) -> None:
    logs = [log_on(store, f"n{i}") for i in range(3)]
    async with running(*logs):
        writes = [log.write(act(log, f"{i}.{n}"), within_s=100) for n in range(20) for i, log in enumerate(logs)]
        await asyncio.gather(*writes)
    assert sorted(await targets(store)) == sorted(f"{i}.{n}" for n in range(20) for i in range(3))
    found = await verify(store, KEYS)
    assert (found.faults, found.checked, found.last) == ([], 60, 60)


async def test_one_nodes_records_stand_in_the_order_in_which_they_were_made(store: Trouble) -> None:
    log = log_on(store)
    for n in range(300):
        log.note(act(log, str(n)))
    await log.drain(60)
    assert await targets(store) == [str(n) for n in range(300)]


async def test_a_reply_that_was_lost_makes_no_entry_twice(store: Trouble) -> None:
    log = log_on(store)
    log.note(act(log, "a"))
    log.note(act(log, "b"))
    store.lose = 1
    task = asyncio.create_task(log.drain(60))
    await wait_until(lambda: store.down)
    # Others go on meanwhile, and so do we: the group that is tried again is longer than the one that arrived.
    await log_on(AuditStore(store._client, _database(store))).append([act(log, "theirs")])
    log.note(act(log, "c"))
    store.down = False
    await task
    assert await targets(store) == ["a", "b", "theirs", "c"]
    assert await faults(store) == set()


async def test_a_store_that_is_away_refuses_what_may_not_be_missed_and_keeps_the_rest(store: Trouble) -> None:
    log = log_on(store, buffer_max=3)
    store.down = True
    async with running(log):
        log.admit(strict=True)
        with pytest.raises(OutcomeUnknown):
            await log.write(act(log, "0"), within_s=0.0)
        await wait_until(lambda: log._failing)
        with pytest.raises(StoreUnavailable, match="nothing was changed"):
            log.admit(strict=True)
        log.note(act(log, "1"))
        log.note(act(log, "2"))
        with pytest.raises(StoreUnavailable):
            log.admit()
        store.down = False
        await wait_until(lambda: not log.waiting)
        log.admit(strict=True)
    assert await targets(store) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda entries, _: entries.update_one({"_id": 3}, {"$set": {"principal": "user:eve"}}), "altered"),
        (lambda entries, _: entries.update_one({"_id": 3}, {"$set": {"more": 1}}), "altered"),
        (lambda entries, _: entries.update_one({"_id": 3}, {"$unset": {"details": ""}}), "altered"),
        (lambda entries, _: entries.update_one({"_id": 3}, {"$set": {"at_ms": "now"}}), "altered"),
        (lambda entries, _: entries.delete_one({"_id": 3}), "missing"),
        (lambda entries, _: entries.delete_one({"_id": 1}), "missing"),
        (lambda entries, _: entries.delete_one({"_id": 6}), "truncated"),
        (lambda entries, _: entries.delete_many({}), "truncated"),
        (lambda _, heads: heads.delete_many({}), "head_missing"),
        (lambda _, heads: heads.update_one({}, {"$set": {"seq": 5}}), "head_forged"),
    ],
)
async def test_what_is_changed_in_the_store_is_found(store: Trouble, change: Any, kind: str) -> None:
    log = log_on(store)
    await log.append([act(log, str(n)) for n in range(6)])
    assert await faults(store) == set()
    await change(store._entries, store._heads)
    assert kind in await faults(store)


async def test_an_old_head_that_was_put_back_is_found_by_who_kept_a_newer_one(store: Trouble) -> None:
    log = log_on(store)
    await log.append([act(log, str(n)) for n in range(3)])
    old: Any = await store._heads.find_one({})
    await log.append([act(log, str(n)) for n in range(3)])
    kept = await store.head()
    assert kept is not None
    await store._heads.replace_one({}, old)
    await store._entries.delete_many({"_id": {"$gt": 3}})
    assert await faults(store) == set()
    assert await faults(store, expected=(kept.seq, kept.hash)) == {"rolled_back"}
    # A node that still runs has kept one, too, and says so in the log itself.
    await log.append([act(log, "next")])
    await log.drain(60)
    assert [entry.action for entry in await store.walk(4, 10)] == ["cancelJob", "audit.cut_off"]


async def test_a_log_is_verified_in_slices_and_a_fault_is_in_its_slice(store: Trouble) -> None:
    log = log_on(store)
    await log.append([act(log, str(n)) for n in range(10)])
    await store._entries.update_one({"_id": 7}, {"$set": {"target": "x"}})
    slices: list[Verification] = []
    first: int | None = 1
    while first is not None:
        slices.append(await verify(store, KEYS, first=first, limit=4))
        first = slices[-1].next
    assert [(one.first, one.last) for one in slices] == [(1, 4), (5, 8), (9, 10)]
    assert [[fault.seq for fault in one.faults] for one in slices] == [[], [7], []]


@pytest.mark.parametrize("first", [11, 12, 999])
async def test_a_slice_from_behind_the_end_finds_no_fault_in_a_whole_log_and_the_cut_in_a_cut_one(
    store: Trouble, first: int
) -> None:
    log = log_on(store)
    await log.append([act(log, str(n)) for n in range(10)])
    found = await verify(store, KEYS, first=first)
    assert (found.faults, found.checked, found.next) == ([], 0, None)
    await store._entries.delete_one({"_id": 10})
    assert "missing" in await faults(store, first=first)


async def test_retention_removes_what_is_old_and_leaves_a_whole_chain(store: Trouble) -> None:
    log = log_on(store)
    old = [_aged(act(log, str(n)), 10) for n in range(150)]
    await log.append(old)
    await log.append([act(log, "young")])
    assert await log.retain(timedelta(days=5)) == 150
    assert [(entry.seq, entry.action) for entry in await store.walk(1, 10)] == [(151, "cancelJob"), (152, CHECKPOINT)]
    found = await verify(store, KEYS)
    assert (found.faults, found.removed_through, found.first) == ([], 150, 151)
    await store._entries.delete_one({"_id": 151})
    assert await faults(store) == {"missing"}


async def test_a_crash_between_checkpoint_and_removal_leaves_no_fault_and_is_made_good(store: Trouble) -> None:
    log = log_on(store)
    await log.append([_aged(act(log, str(n)), 10) for n in range(150)])
    removed: list[int] = []
    store.remove_through = _never  # type: ignore[method-assign] # the process dies here
    with pytest.raises(StoreUnavailable):
        await log.retain(timedelta(days=5))
    assert await faults(store) == set()
    del store.remove_through
    removed.append(await log_on(store, "n2").retain(timedelta(days=5)))
    assert removed == [150]
    assert await faults(store) == set()


async def test_refusals_fill_neither_the_log_nor_the_buffer(store: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    # All come at once, however long that takes.
    monkeypatch.setattr(audit_sampling, "WINDOW_S", 3600.0)
    monkeypatch.setattr(audit_sampling, "RATE", 0.0)
    log = log_on(store, buffer_max=100)
    refusal = log.record(principal="", action="cancelJob", outcome="unauthenticated", address="10.0.0.7", status=401)
    for _ in range(1000):
        log.refused(refusal)
    assert log.waiting == 1
    for n in range(1000):
        log.refused(log.record(principal="", action="x", outcome="unauthenticated", address=f"10.0.1.{n}"))
    assert log.waiting <= 50
    log.admit()


def test_the_next_recorded_refusal_says_how_many_were_left_out() -> None:
    sampler = RefusalSampler()
    assert sampler.admit("a", "forbidden", 100.0) == 0
    assert [sampler.admit("a", "forbidden", 100.0 + i) for i in range(3)] == [None] * 3
    assert sampler.admit("b", "forbidden", 103.0) == 0
    assert sampler.admit("a", "forbidden", 100.0 + WINDOW_S) == 3


def test_addresses_without_end_take_bounded_memory_and_a_bounded_rate() -> None:
    sampler = RefusalSampler()
    taken = [sampler.admit(f"{n}", "unauthenticated", 1.0) for n in range(5000)]
    assert sum(one is not None for one in taken) == BURST
    for n in range(5000):
        sampler.admit(f"x{n}", "unauthenticated", 2.0 + n)
    assert len(sampler._kinds) <= KINDS_MAX


def _aged(record: Record, days: int) -> Record:
    fields = {name: getattr(record, name) for name in Record.__struct_fields__}
    return Record(**(fields | {"at_ms": record.at_ms - days * 86_400_000}))


def _database(store: AuditStore) -> Any:
    return store._entries.database


async def _never(seq: int) -> int:
    raise StoreUnavailable("MongoDB")
