"""`hegemon election` as far as it needs no cluster: advice, step-down, and what a demo and a bench show."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from hegemon.cli import election_plot, election_screens
from hegemon.cluster.election_trial import Calm, Round
from hegemon.cluster.trial_figures import Case
from hegemon.cluster.trial_load import Verdict
from tests.cli.conftest import Run
from tests.cli.fake_cluster import FakeCluster
from tests.cli.fake_node_api import FakeNode, serving


@pytest.fixture
def two() -> Iterator[tuple[FakeNode, FakeNode]]:
    place = FakeCluster()
    with ExitStack() as stack:
        yield stack.enter_context(serving("n1", place)), stack.enter_context(serving("n2", place))


@pytest.mark.parametrize("name", ["bully", "raft", "gossip"])
def test_the_guide_says_what_an_algorithm_is_for_and_its_settings(run: Run, fake: FakeNode, name: str) -> None:
    ended = run("election", "guide", name, "--nodes", "5")
    assert (ended.code, ended.err) == (0, "")
    for part in ("Take it when", "Not when", f"ELECTION_ALGORITHM={name}", "5 nodes: ", "may be down"):
        assert part in ended.out
    assert max(map(len, ended.out.splitlines())) <= 120
    assert run("election", "guide", name, "--json").json["nodes"] == 3


def test_the_guide_to_nothing_known_exits_with_3(run: Run, fake: FakeNode) -> None:
    ended = run("election", "guide", "paxos")
    assert (ended.code, ended.out) == (3, "")


def test_a_step_down_reaches_the_leader_through_any_node(bare_run: Run, two: tuple[FakeNode, FakeNode]) -> None:
    place = two[0].place
    ended = bare_run("--url", two[1].url, "election", "step-down", "--pause", "2500ms")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "n1 has stepped down, and does not stand again for 2500ms\n"
    assert (place.paused, place.leader) == (2.5, None)


def test_a_step_down_while_nobody_leads_is_refused(run: Run, fake: FakeNode) -> None:
    fake.place.leader = None
    ended = run("election", "step-down")
    assert (ended.code, ended.out) == (4, "")
    assert "not_leader" in ended.err


def test_a_lost_reply_to_a_step_down_is_not_sent_again(run: Run, fake: FakeNode) -> None:
    fake.lose_replies()
    ended = run("election", "step-down", "--json")
    assert ended.code == 5
    assert "look before you try again" in ended.err
    assert [line for line in fake.requests if "step-down" in line] == ["POST /api/v1/election/step-down"]


# -- what is shown -----------------------------------------------------------------------------------------------------


def a_round(**changes: Any) -> Round:
    shown = {
        "algorithm": "raft",
        "nodes": 3,
        "number": 1,
        "how": "SIGKILL",
        "leader": "node-1",
        "successor": "node-2",
        "epoch_before": 3,
        "epoch_after": 4,
        "detected_s": 0.35,
        "elected_s": 0.36,
        "office_s": 0.38,
        "dispatched_s": 0.4,
        "gap_s": 0.41,
        "started_on": "node-3",
    }
    return Round(**{**shown, **changes})


def a_verdict(**changes: Any) -> Verdict:
    fine = {"acknowledged": 9, "completed": 9, "lost": [], "again": [], "repeated": 0, "unanswered": 0}
    return Verdict(**{**fine, **changes})


def a_case(verdict: Verdict | None = None, *rounds: Round) -> Case:
    calm = Calm(algorithm="raft", nodes=3, seconds=10, changes=1, messages_per_s=123.4)
    return Case(algorithm="raft", nodes=3, calm=calm, rounds=list(rounds), verdict=verdict or a_verdict())


def test_a_timeline_is_in_the_order_of_time_and_leaves_out_what_was_not_seen() -> None:
    lines = [str(line).split(" ms  ") for line in election_screens.timeline(a_round(elected_s=None, office_s=0.2))]
    assert [int(at) for at, _ in lines] == [0, 200, 350, 400]
    assert lines[0][1] == "kill -9 ends node-1, which led in epoch 3"
    assert lines[1][1] == "node-2 holds the office, in epoch 4"
    assert lines[-1][1].endswith("on node-3")


def test_a_verdict_says_what_was_lost_by_name() -> None:
    fine = "\n".join(map(str, election_screens.verdict(a_verdict(repeated=2))))
    assert "exactly once" in fine
    assert "2 of them ran" in fine
    bad = "\n".join(map(str, election_screens.verdict(a_verdict(lost=["job-7"], again=["job-8"], unanswered=1))))
    assert "exactly once" not in bad
    assert "1 LOST: job-7" in bad
    assert "1 RUN AGAIN after they were recorded: job-8" in bad


def test_the_plot_is_whole_and_has_a_dot_for_every_round() -> None:
    rounds = [a_round(dispatched_s=0.3 + i / 100) for i in range(20)]
    root = ET.fromstring(election_plot.draw([a_case(None, *rounds), a_case()]))  # noqa: S314 - our own
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert names.count("circle") == 20
    # Detection, p50 and p99, each in a colour of its own, and the ticks.
    strokes = [element.get("stroke") for element in root.iter() if element.get("stroke-width") == "2.5"]
    assert len(strokes) == len(set(strokes)) == 3
    words = [element.text for element in root.iter() if element.text]
    assert "raft, 3" in words
    assert any(word.startswith("p50 0.39 s, 123 messages/s, 1 needless") for word in words)
