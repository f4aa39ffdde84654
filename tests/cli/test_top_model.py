"""What `hegemon top` makes of answers and keys: rows, their order, what is wrong, what is old."""

from __future__ import annotations

from typing import Any

import pytest

from hegemon.cli.top_model import ORDERS, PAGE, PANES, Top, natural
from tests.cli import fake_figures
from tests.cli.fake_cluster import FakeCluster

URLS = {"n1": "http://n1:1", "n2": "http://n2:1", "n10": "http://n10:1"}


def state(**changes: Any) -> dict[str, Any]:
    place = FakeCluster()
    place.urls = dict(URLS)
    for name, value in changes.pop("place", {}).items():
        setattr(place, name, value)
    views = place.views("n1")
    stats = {
        "jobs": {"completed": 20417, "failed": 3},
        "queue": {"ready": 120, "delayed": 5, "held": 16, "parked": {}},
        "figures": fake_figures.figures() | changes,
    }
    return {**views, "nodes": views["nodes"]["nodes"], "stats": stats, "activity": fake_figures.activity()}


def top(**changes: Any) -> Top:
    made = Top(["http://n1:1"])
    made.saw(("http://n1:1", state(**changes)), 100.0)
    return made


def ids(made: Top, pane: str = "nodes", name: str = "id") -> list[str]:
    return [row[name] for row in made.rows(pane)]


def test_nodes_are_whoever_the_election_the_index_or_the_figures_know() -> None:
    made = top(nodes=[fake_figures.node("n1", active=True), fake_figures.node("n7")])
    assert ids(made) == ["n1", "n2", "n7", "n10"]
    n1, n2, n7, _ = made.rows("nodes")
    assert (n1["leads"], n1["health"], n1["busy"], n1["url"]) == (True, "alive", 2, "http://n1:1")
    assert "rates" in n1
    assert "rates" not in n2
    assert (n7["leads"], n7.get("health")) == (False, None)


def test_tab_goes_around_the_panes_and_sorting_is_each_panes_own() -> None:
    made = top()
    for pane in [*PANES[1:], PANES[0], *PANES[1:]]:
        made.press("tab")
        assert made.focus == pane
    made.press("back-tab")
    assert made.focus == "queues"
    seen = []
    for _ in ORDERS["queues"]:
        seen.append((made.order("queues").heading, ids(made, "queues", "name")))
        made.press("s")
    assert seen == [
        ("QUEUE", ["default", "mail", "q10"]),
        ("READY", ["default", "mail", "q10"]),
        ("OLDEST", ["mail", "default", "q10"]),
        ("DONE/S", ["mail", "default", "q10"]),
    ]
    made.press("r")
    assert ids(made, "queues", "name") == ["q10", "mail", "default"]
    assert ids(made) == ["n1", "n2", "n10"]
    assert made.rows("events")[0]["kind"] == "job.dead", "the newest comes first"


def test_scrolling_stays_within_the_rows() -> None:
    made = top()
    made.focus = "events"
    made.press("up")
    assert made.views["events"].first == 0
    for key in ("down", "j", "page-down"):
        made.press(key)
    assert made.views["events"].first == 2 + PAGE
    for _ in range(40):
        made.press("page-down")
    assert made.views["events"].first == 39
    made.press("k")
    assert made.views["events"].first == 38
    assert made.views["nodes"].first == 0


@pytest.mark.parametrize("key", ["q", ""])
def test_q_and_the_end_of_the_terminal_end_it_and_nothing_else_does(key: str) -> None:
    made = top()
    assert made.press(key)
    assert not any(made.press(other) for other in ("p", "tab", "s", "r", "up", "x", "\x1b"))


def test_all_is_well_in_one_sentence() -> None:
    assert top().verdicts(100.0) == [("green", "All is well: n1 leads 3 nodes. 120 ready to run.")]
    assert Top(["http://n1:1"]).verdicts(0.0) == [("", "Looking at the cluster…")]


def test_what_is_wrong_is_told_worst_first() -> None:
    found = top(
        place={"leader": None, "health": {"n2": "dead", "n10": "suspect"}},
        rates=fake_figures.rates(1.0, failed=0.5),
        missing=["n10"],
    )
    assert found.state is not None
    found.state["stats"]["queue"]["parked"] = {"fax": 1200}
    assert [sentence for _, sentence in found.verdicts(100.0)] == [
        "Nobody leads",
        "n2 is lost",
        "n10 is suspect",
        "1,200 of type fax wait for a worker",
        "jobs have failed within the last minute",
        "no figures of n10",
    ]


def test_an_old_answer_says_its_age_and_silence_says_whom_it_asked() -> None:
    made = top()
    assert made.verdicts(104.0)[0][0] == "green"
    assert made.verdicts(107.0)[0] == ("bold yellow", "STALE: the answer is 7 s old")
    made.press("p")
    assert made.verdicts(107.0)[0][0] == "green", "who pauses it knows that it is old"
    made.saw(None, 108.0)
    assert made.verdicts(109.0)[0][1].startswith("No node answers for 9 s; asked http://n1:1, ")
    assert ids(made) == ["n1", "n2", "n10"], "the last answer stays"
    made.saw(("http://n2:1", state()), 110.0)
    assert made.verdicts(110.0)[0][0] == "green"


def test_who_answered_is_asked_first_and_then_all_others_that_were_heard_of() -> None:
    made = top()
    assert made.urls == ["http://n1:1", "http://n2:1", "http://n10:1"]
    made.saw(("http://n10:1", state()), 101.0)
    assert made.urls[0] == "http://n10:1"
    assert sorted(made.urls) == sorted(URLS.values())


def test_a_node_of_an_older_version_has_no_figures_and_is_shown_all_the_same() -> None:
    old = state()
    del old["stats"]["figures"]
    made = Top(["http://n1:1"])
    made.saw(("http://n1:1", old), 100.0)
    for pane in PANES:
        made.focus = pane
        for _ in ORDERS[pane]:
            made.rows(pane)
            made.press("s")
    assert (made.rows("queues"), list(made.done)) == ([], [])
    assert made.verdicts(100.0)[0][0] == "green"


def test_names_sort_by_their_numbers() -> None:
    assert sorted(["n10", "n9", "a", "n1x2", "n1x10"], key=natural) == ["a", "n1x2", "n1x10", "n9", "n10"]
