"""More safeguards switched off inside a real node, for the faulty stores, for I7 and for I8. Used like `sabotage`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pymongo.write_concern import WriteConcern

from hegemon.cluster import recovery, upkeep
from hegemon.queue import mongo, redis, store, submit
from tests.faults.sabotage import _replace


def groups_unnumbered() -> None:
    """I4: a submitter's group is applied as often as it arrives."""
    script_text = redis.script_text
    check = "if last and tonumber(ARGV[3]) <= tonumber(last) then"
    if check not in script_text("index_add"):
        raise AttributeError("index_add does not compare group numbers there any more")
    _replace(redis, "script_text", lambda name: script_text(name).replace(check, "if false then"))


def crashes_uncounted() -> None:
    """I7: a death under the durable mark counts nothing."""

    def marks_of(report: recovery.DeathReport | None) -> tuple[str, dict[str, str]]:
        return ("l", {}) if report is None else ("t", dict.fromkeys(report.running, "v"))

    _replace(upkeep, "marks_of", marks_of)


def guilt_by_association() -> None:
    """I7: whoever ran in a process that died by itself counts a crash at once, instead of running alone next time."""
    change = recovery.Recovery._change

    def counted(self: recovery.Recovery, document: dict[str, Any], mark: str, worker: str) -> dict[str, Any]:
        return change(self, document, "c" if mark == "s" else mark, worker)

    _replace(recovery.Recovery, "_change", counted)


def buffer_unbounded() -> None:
    """I8: submissions are let in however many wait for their write."""

    def admit(_self: submit.Submitter, _n: int) -> None:
        return

    _replace(submit.Submitter, "_admit", admit)


def majority_unasked() -> None:
    """I1, I4: a write counts as done when the primary has it, which may not be primary tomorrow."""
    init = store.JobStore.__init__

    def hasty(self: store.JobStore, client: mongo.Client, database: mongo.Database) -> None:
        init(self, client, database)
        self.jobs = self.jobs.with_options(write_concern=WriteConcern(w=1, j=True))

    _replace(store.JobStore, "__init__", hasty)


MORE: Final[dict[str, Callable[[], None]]] = {
    "groups-unnumbered": groups_unnumbered,
    "crashes-uncounted": crashes_uncounted,
    "guilt-by-association": guilt_by_association,
    "buffer-unbounded": buffer_unbounded,
    "majority-unasked": majority_unasked,
}
