"""The judge of an election trial: what it counts as lost, as run again, and where it sees the first dispatch."""

import json
from pathlib import Path
from typing import Any

import pytest

from hegemon.cluster.election_trial import Calm, Round, Steps, sent
from hegemon.cluster.trial_figures import Case, Figures, quantile, report
from hegemon.cluster.trial_load import Journal, Line, Verdict, judge


def document(number: int, status: str = "completed", *, attempt: int = 1, job_id: str | None = None) -> dict[str, Any]:
    payload = {"enc": "json", "data": json.dumps({"number": number}).encode()}
    return {"_id": job_id or f"job-{number}", "status": status, "attempt": attempt, "payload": payload}


def start(number: int, attempt: int = 1, at_ns: int = 0) -> Line:
    return Line("start", number, attempt, at_ns, "node-1")


def judged(documents: list[dict[str, Any]], lines: list[Line], numbers: int = 3) -> Verdict:
    acknowledged = {f"job-{number}": number for number in range(1, numbers + 1)}
    return judge(acknowledged, documents, lines, 0)


ALL = [document(number) for number in (1, 2, 3)]
RAN = [start(number) for number in (1, 2, 3)]


def test_all_completed_once_holds() -> None:
    verdict = judged(ALL, RAN)
    assert (verdict.acknowledged, verdict.completed, verdict.repeated, verdict.holds) == (3, 3, 0, True)


@pytest.mark.parametrize("status", ["failed", "cancelled", "pending", "running", None])
def test_an_acknowledged_job_that_is_not_completed_is_lost(status: str | None) -> None:
    documents = ALL[:2] + ([] if status is None else [document(3, status)])
    verdict = judged(documents, RAN)
    assert (verdict.lost, verdict.holds) == (["job-3"], False)


def test_a_job_that_ran_twice_before_it_was_recorded_is_no_fault() -> None:
    verdict = judged([*ALL[:2], document(3, attempt=2)], [*RAN, start(3, attempt=2)])
    assert (verdict.repeated, verdict.again, verdict.holds) == (1, [], True)


def test_a_job_that_ran_after_it_was_recorded_is_a_fault() -> None:
    verdict = judged(ALL, [*RAN, start(2, attempt=2)])
    assert (verdict.again, verdict.holds) == (["job-2"], False)


def test_one_submission_in_two_jobs_is_a_fault() -> None:
    verdict = judged([*ALL, document(2, job_id="job-2b")], RAN)
    assert (verdict.again, verdict.holds) == (["job-2"], False)


def test_what_nobody_acknowledged_may_be_either_way() -> None:
    assert judged([*ALL, document(4, "pending")], RAN).holds


def test_the_journal_finds_the_earliest_start_from_a_number_on_and_reads_only_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.first_start(1) is None
    with journal.path.open("a") as file:
        file.write("start 1 1 100 node-1\nend 1 1 150 node-1\nstart 3 1 400 node-2\nstart 2 1 300 node-3\nstart 4 1 2")
    assert journal.first_start(2) == Line("start", 2, 1, 300, "node-3")
    assert journal.first_start(4) is None
    with journal.path.open("a") as file:
        file.write("50 node-1\n")
    assert journal.first_start(2) == Line("start", 4, 1, 250, "node-1")


def test_the_longest_gap_is_that_between_starts_within_the_window(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    moments = (1.0, 1.1, 1.9, 2.0, 9.0)
    journal.path.write_text("".join(f"start {i} 1 {at * 1e9:.0f} n\n" for i, at in enumerate(moments)))
    assert journal.longest_gap_s(int(0.9e9), int(2.1e9)) == pytest.approx(0.8)
    assert journal.longest_gap_s(int(0.1e9), int(2.1e9)) == pytest.approx(0.9)


def change(at: str, what: str, leader: str | None) -> dict[str, Any]:
    return {"at": f"2030-01-01T00:00:0{at}Z", "what": what, "leader": leader}


def test_steps_are_the_first_ones_after_the_end_and_only_the_successors_win_counts() -> None:
    ended_ms = 1_893_456_001_000  # 2030-01-01T00:00:01Z
    old = [change("0.500", "view", None), change("0.600", "view", "n1")]
    n2 = {"node_id": "n2", "last_changes": [*old, change("1.400", "view", None), change("1.450", "won", "n2")]}
    n3 = {"node_id": "n3", "last_changes": [change("1.350", "view", "n2"), change("1.360", "won", "n3")]}
    steps = Steps([n2, None, n3], "n1", "n2", ended_ms)
    assert (steps.detected_s, steps.elected_s) == (0.35, 0.45)
    unseen = Steps([None], "n1", "n2", ended_ms)
    assert (unseen.detected_s, unseen.elected_s) == (None, None)


def test_messages_are_what_was_sent_and_unknown_where_nothing_is_counted() -> None:
    assert sent({"datagrams_out": 3, "streams_out": 2, "forged": 999, "datagrams_in": 7}) == 5
    assert sent({}) is None


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [quantile(values, percent) for percent in (0, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert quantile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        quantile([], 50)


def a_round(algorithm: str, dispatched_s: float, detected_s: float | None) -> Round:
    return Round(
        algorithm=algorithm,
        nodes=3,
        number=1,
        how="SIGKILL",
        leader="a",
        successor="b",
        epoch_before=1,
        epoch_after=2,
        detected_s=detected_s,
        elected_s=None,
        office_s=None,
        dispatched_s=dispatched_s,
        gap_s=dispatched_s,
        started_on="c",
        recorded_s=dispatched_s - 0.002,
    )


def test_the_report_pools_the_sizes_of_an_algorithm_and_keeps_every_round() -> None:
    verdict = judged(ALL, RAN)

    def case(nodes: int, *rounds: Round) -> Case:
        calm = Calm(algorithm="raft", nodes=nodes, seconds=1, changes=0, messages_per_s=None)
        return Case(algorithm="raft", nodes=nodes, calm=calm, rounds=list(rounds), verdict=verdict)

    told = report([case(3, a_round("raft", 0.4, 0.3)), case(5, a_round("raft", 0.6, None), a_round("raft", 0.8, 0.5))])
    assert told["pooled"]["raft"]["dispatched_p50"] == 0.6
    assert told["pooled"]["raft"]["detected_p50"] == 0.3
    assert told["pooled"]["raft"]["recorded_p50"] == pytest.approx(0.598)
    assert [len(each["rounds"]) for each in told["cases"]] == [1, 2]
    assert Figures.of([]).dispatched_max is None
