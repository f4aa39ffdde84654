"""Safeguards switched off one at a time, inside a real node, by replacing a function at start. Never a part of Hegemon.

Each sabotage names the invariant that it should break. `slow-index` is none: it is bad luck, which safeguards must
outlive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from hegemon.cluster import recovery, upkeep
from hegemon.queue import entries, leader_index, redis, store, submit


def slow_index() -> None:
    """Bad luck: whatever is accepted by this process does not reach the index before the process dies."""

    async def never(_: submit.Submitter) -> None:
        await asyncio.Event().wait()

    _replace(submit.Submitter, "_index_some", never)


def no_sweep() -> None:
    """I1: nobody looks for what a dead submitter accepted and did not index."""

    async def idle(_: upkeep.Upkeep) -> None:
        return

    _replace(upkeep.Upkeep, "_sweep", idle)
    _replace(upkeep.Upkeep, "_audit", idle)


def acknowledge_first() -> None:
    """I1: callers are told "accepted" before the document is durable."""
    insert = store.JobStore.insert
    under_way: set[asyncio.Task[object]] = set()

    async def later(self: store.JobStore, documents: Sequence[dict[str, Any]]) -> list[str | None]:
        async def write() -> None:
            await asyncio.sleep(5.0)
            await insert(self, documents)

        under_way.add(asyncio.create_task(write()))
        return [None] * len(documents)

    _replace(store.JobStore, "insert", later)


def index_unread() -> None:
    """I4: the re-add rule is dropped: what a dead worker held is indexed again without a look at whether it lives."""

    async def recover(self: recovery.Recovery, held: Mapping[str, tuple[str, str, str]]) -> int:
        placements = {}
        for job_id, document in (await self._queries.many(list(held))).items():
            document["attempt"] += 1
            placements[job_id] = leader_index.Placement(
                entries.entry_text(document), entries.encode_body(document), document.get("due")
            )
        return await self._index.reindex(placements, {})

    _replace(recovery.Recovery, "recover", recover)


def lowest_first() -> None:
    """I6: the survey reads the ready lists from the lowest priority upwards."""
    survey = leader_index.LeaderIndex.survey

    async def reversed_survey(self: leader_index.LeaderIndex, want: int) -> leader_index.Survey:
        seen = await survey(self, want)
        queues = [sorted(queue, key=lambda entry: entry.priority) for queue in seen.queues]
        return msgspec.structs.replace(seen, queues=queues)

    _replace(leader_index.LeaderIndex, "survey", reversed_survey)


def newest_first() -> None:
    """I6: accepted jobs go to the head of their ready list in place of its tail."""
    script_text = redis.script_text

    def turned(name: str) -> str:
        return script_text(name).replace("'RPUSH', P .. 'ready:'", "'LPUSH', P .. 'ready:'")

    _replace(redis, "script_text", turned)


SABOTAGES: Final[dict[str, Callable[[], None]]] = {
    "slow-index": slow_index,
    "no-sweep": no_sweep,
    "acknowledge-first": acknowledge_first,
    "index-unread": index_unread,
    "lowest-first": lowest_first,
    "newest-first": newest_first,
}


def _replace(owner: object, name: str, by: object) -> None:
    """Fails where there is nothing to replace: a sabotage that misses would make its test a lie."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner!r} has no {name!r} any more")
    setattr(owner, name, by)
