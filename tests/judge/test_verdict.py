"""The judge must turn red for each kind of forgery, and stay green for what is allowed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pymongo import MongoClient

from tests.conftest import MongoServer
from tests.judge.records import Ack, AckJournal, Evidence, Mark, Record, Truth, Watch, read_acks, read_marks
from tests.judge.verdict import judge

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000_000
A, B, C = (f"0190a000-0000-7000-8000-00000000000{letter}" for letter in "abc")


def honest() -> Evidence:
    """Three jobs, two of them completed, one failed; `B` ran twice, which is allowed."""
    return Evidence(
        acks=[Ack(A, SECOND), Ack(B, SECOND), Ack(C, SECOND)],
        marks=[
            Mark("start", A, 1, 2 * SECOND, 7),
            Mark("end", A, 1, 3 * SECOND, 7),
            Mark("start", B, 1, 4 * SECOND, 7),
            Mark("start", B, 2, 5 * SECOND, 8),
            Mark("end", B, 2, 6 * SECOND, 8),
            Mark("start", C, 1, 7 * SECOND, 8),
        ],
        records={
            A: Record(A, "completed", 1, "journaled"),
            B: Record(B, "completed", 2, "journaled"),
            C: Record(C, "failed", 1, "picky"),
        },
        observed={A: 8 * SECOND, B: 8 * SECOND},
    )


def with_marks(*marks: Mark) -> Evidence:
    evidence = honest()
    return msgspec.structs.replace(evidence, marks=[*evidence.marks, *marks])


def with_record(record: Record) -> Evidence:
    evidence = honest()
    return msgspec.structs.replace(evidence, records={**evidence.records, record.id: record})


def test_honest_evidence_balances_and_repetition_is_counted_not_condemned() -> None:
    verdict = judge(honest(), settled=True, ordered=True)
    assert verdict.ok, verdict
    assert (verdict.accepted, verdict.completed, verdict.failed, verdict.live, verdict.repeated) == (3, 2, 1, 0, 1)
    assert "accepted 3 = completed 2 + failed 1 + cancelled 0 + live 0 + removed 0" in str(verdict)


def test_a_vanished_job_is_missing_and_named() -> None:
    evidence = honest()
    records = {job_id: record for job_id, record in evidence.records.items() if job_id != B}
    verdict = judge(msgspec.structs.replace(evidence, records=records))
    assert [(violation.kind, violation.id) for violation in verdict.violations] == [("missing", B)]


def test_a_removed_job_is_in_the_books_but_no_more_than_were_removed() -> None:
    evidence = honest()
    records = {A: evidence.records[A]}
    one = judge(msgspec.structs.replace(evidence, records=records, removed=1))
    assert one.kinds == {"missing"}
    both = judge(msgspec.structs.replace(evidence, records=records, removed=2))
    assert both.ok, both
    assert both.removed == 2


def test_an_id_acknowledged_twice_is_seen() -> None:
    evidence = honest()
    verdict = judge(msgspec.structs.replace(evidence, acks=[*evidence.acks, Ack(A, SECOND)]))
    assert verdict.kinds == {"acknowledged_twice"}


def test_a_live_job_is_stuck_only_when_all_had_the_time_to_end() -> None:
    evidence = with_record(Record(C, "pending", 2, "picky"))
    assert judge(evidence).ok
    verdict = judge(evidence, settled=True)
    assert verdict.kinds == {"stuck"}
    assert verdict.live == 1


def test_an_unacknowledged_job_must_end_too_and_is_counted_apart() -> None:
    evidence = honest()
    unanswered = msgspec.structs.replace(evidence, acks=evidence.acks[1:])
    assert judge(unanswered, settled=True).unacknowledged == 1
    assert judge(unanswered, settled=True).ok


def test_a_completion_that_no_handler_came_to_is_seen() -> None:
    evidence = honest()
    marks = [mark for mark in evidence.marks if (mark.event, mark.id) != ("end", A)]
    assert judge(msgspec.structs.replace(evidence, marks=marks)).kinds == {"completed_unrun"}


def test_an_end_under_another_attempt_does_not_bear_a_completion_out() -> None:
    assert judge(with_record(Record(A, "completed", 2, "journaled"))).kinds == {"completed_unrun"}


def test_a_completion_that_was_undone_is_seen() -> None:
    assert judge(with_record(Record(A, "pending", 2, "journaled"))).kinds == {"undone"}


def test_a_start_beyond_the_recorded_attempt_is_seen() -> None:
    verdict = judge(with_marks(Mark("start", A, 2, 4 * SECOND, 9)))
    assert verdict.kinds == {"started_beyond"}


def test_a_start_beyond_the_attempt_of_a_dead_letter_is_seen() -> None:
    assert judge(with_marks(Mark("start", C, 2, 8 * SECOND, 9))).kinds == {"started_beyond"}


def test_a_start_after_the_completion_was_seen_is_a_violation_under_any_attempt() -> None:
    verdict = judge(with_marks(Mark("start", B, 0, 9 * SECOND, 9)))
    assert verdict.kinds == {"started_after"}
    assert "1000.0 ms after" in verdict.violations[0].detail


def test_two_starts_under_one_attempt_are_seen() -> None:
    verdict = judge(with_marks(Mark("start", A, 1, 5 * SECOND // 2, 9)))
    assert verdict.kinds == {"started_twice"}
    assert verdict.violations[0].detail == (
        "2 times under attempt 1: start of attempt 1 by pid 7 at +0.0 ms, "
        "start of attempt 1 by pid 9 at +500.0 ms, end of attempt 1 by pid 7 at +1000.0 ms"
    )


def ordered(*starts: tuple[str, int], acks: list[Ack]) -> Evidence:
    return Evidence(acks=acks, marks=[Mark("start", job_id, 1, at, 7) for job_id, at in starts], records={})


def kinds_in_order(evidence: Evidence) -> set[str]:
    return judge(evidence, ordered=True).kinds - {"missing"}


def test_fifo_within_a_priority_is_demanded() -> None:
    acks = [Ack(A, SECOND), Ack(B, SECOND)]
    assert kinds_in_order(ordered((A, 2 * SECOND), (B, 3 * SECOND), acks=acks)) == set()
    assert kinds_in_order(ordered((B, 2 * SECOND), (A, 3 * SECOND), acks=acks)) == {"overtaken"}


def test_a_higher_priority_that_waits_goes_first() -> None:
    acks = [Ack(A, SECOND, priority=1), Ack(B, SECOND, priority=9)]
    assert kinds_in_order(ordered((B, 2 * SECOND), (A, 3 * SECOND), acks=acks)) == set()
    assert kinds_in_order(ordered((A, 2 * SECOND), (B, 3 * SECOND), acks=acks)) == {"overtaken"}


def test_a_higher_priority_that_came_later_overtook_nobody() -> None:
    acks = [Ack(A, SECOND, priority=1), Ack(B, 5 * SECOND // 2, priority=9)]
    assert kinds_in_order(ordered((A, 2 * SECOND), (B, 3 * SECOND), acks=acks)) == set()


def test_queues_have_no_order_among_each_other() -> None:
    acks = [Ack(A, SECOND, queue="one"), Ack(B, SECOND, queue="two", priority=9)]
    assert kinds_in_order(ordered((A, 2 * SECOND), (B, 3 * SECOND), acks=acks)) == set()


def test_journals_come_back_as_they_were_written(tmp_path: Path) -> None:
    journal = AckJournal(tmp_path / "acks")
    journal.write(A, B, priority=9)
    journal.write(C, queue="mail")
    journal.close()
    acks = read_acks(tmp_path / "acks")
    assert [(ack.id, ack.queue, ack.priority) for ack in acks] == [
        (A, "default", 9),
        (B, "default", 9),
        (C, "mail", 5),
    ]
    (tmp_path / "marks").write_text(f"start {A} 1 17 99\nend {A} 1 18 99\n")
    assert read_marks(tmp_path / "marks") == [Mark("start", A, 1, 17, 99), Mark("end", A, 1, 18, 99)]
    assert read_marks(tmp_path / "never-written") == []


@pytest.mark.parametrize("text", [f"start {A} 1 17\n", f"began {A} 1 17 99\n", f"start {A} 1 17 99"])
def test_a_broken_line_is_refused_not_skipped(tmp_path: Path, text: str) -> None:
    (tmp_path / "marks").write_text(text)
    with pytest.raises(ValueError, match="marks"):
        read_marks(tmp_path / "marks")


def documents(*statuses: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"_id": job_id, "status": status, "attempt": 1, "type": "noop"} for job_id, status in statuses]


def test_the_command_prints_the_balance_and_exits_1_for_a_violation(
    mongo_server: MongoServer, database: str, tmp_path: Path
) -> None:
    acks = AckJournal(tmp_path / "acks")
    acks.write(A, B)
    acks.close()
    command = [sys.executable, "-m", "tests.judge", "--acks", str(tmp_path / "acks"), "--journal", str(tmp_path / "j")]
    command += ["--mongodb", mongo_server.uri, "--database", database, "--settled"]
    with MongoClient[dict[str, Any]](mongo_server.uri) as client:
        jobs = client[database].jobs
        jobs.insert_many(documents((A, "completed"), (B, "cancelled")))
        fine = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
        assert fine.returncode == 0, fine
        assert "accepted 2 = completed 1 + failed 0 + cancelled 1 + live 0 + removed 0" in fine.stdout
        jobs.delete_one({"_id": A})
        lost = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
        assert lost.returncode == 1, lost
        assert f"missing {A}" in lost.stdout
        client[database].cluster.insert_one({"_id": "removed", "request": 1})
        assert subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=False).returncode == 0


def test_a_watch_notes_when_a_completion_was_first_seen(mongo_server: MongoServer, database: str) -> None:
    with MongoClient[dict[str, Any]](mongo_server.uri) as client, Truth(mongo_server.uri, database) as truth:
        client[database].jobs.create_index([("status", 1), ("_id", -1)])
        client[database].jobs.insert_many(documents((A, "completed"), (B, "pending")))
        watch = Watch(truth)
        assert truth.any_live()
        watch.look()
        first = dict(watch.observed)
        assert first.keys() == {A}
        client[database].jobs.update_one({"_id": B}, {"$set": {"status": "completed"}})
        watch.look()
        assert watch.observed[A] == first[A]
        assert watch.observed[B] > first[A]
        assert not truth.any_live()
        assert truth.document(A)["status"] == "completed"
