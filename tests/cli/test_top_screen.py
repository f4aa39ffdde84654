"""How `hegemon top` looks, at every size: what is there, what gives way, and that no line is too long."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from hegemon.cli.top_model import Top
from hegemon.cli.top_screen import Frame, per_second, shares, sparkline, took
from tests.cli.test_top_model import state, top

NOON = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC)


def drawn(made: Top, width: int, height: int, *, encoding: str = "utf-8", keys: bool = True) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(file=file, width=width, height=height, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(Frame(made, 100.0, NOON, keys, height))
    return captured.get().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (10, 3), (100, 30), (149, 50), (150, 24), (250, 80)])
def test_a_frame_fits_its_terminal(width: int, height: int) -> None:
    for made in (top(), Top(["http://n1:1"])):
        for focus in ("nodes", "queues", "events"):
            made.focus = focus
            found = drawn(made, width, height)
            assert len(found) <= height
            assert max(map(len, found)) <= width


def test_80_columns_and_24_lines_show_all_that_matters() -> None:
    screen = drawn(top(), 80, 24)
    text = "\n".join(screen)
    assert screen[0].startswith("hegemon top  c-42  gossip 3/3  n1  epoch 17 term 5  by n1")
    assert screen[0].endswith("12:00:05")
    assert screen[1] == "All is well: n1 leads 3 nodes. 120 ready to run."
    assert screen[3].split()[:9] == ["rate", "done", "41.5", "in", "42.0", "failed", "0.0", "retried", "0.0"]
    assert "p50 3.1 ms  p95 8.8 ms  p99 22 ms  oldest 1 m 33 s in mail" in screen[4]
    assert "p50 1.7 ms  p95 4.9 ms  p99 9.6 ms  late p95 2.4 ms" in screen[5]
    assert "ready 120  held 16  delayed 5" in screen[6]
    assert "completed 20,417  failed 3" in screen[6]
    rows = {line.split()[0]: line.split() for line in screen[8:] if line.strip()}
    assert rows["NODE"][:5] == ["NODE", "STATE", "DONE/S", "IN/S", "BUSY"]
    assert rows["n1"] == ["n1", "leader", "7.0", "3.0", "9/10", "2.5", "ms", "0", "1", "h", "10", "m", "0.1.0"]
    assert rows["n2"][5:8] == ["1.00", "s", "4"]
    assert rows["n10"][:5] == ["n10", "alive", "-", "-", "2/10"]
    assert rows["mail"][:7] == ["mail", "7", "0", "0", "0", "1", "m"]
    assert rows["12:00:40"][1:3] == ["n1", "job.dead"]
    assert "\x1b" not in text, "what an event says does not steer the terminal"
    assert screen[-1].startswith("q ends   p pauses   tab nodes   s sorts: NODE")


def test_where_there_is_room_nodes_and_queues_stand_side_by_side_with_more_columns() -> None:
    screen = drawn(top(), 200, 40)
    heading = next(line for line in screen if line.startswith("NODE"))
    assert "QUEUE" in heading
    assert "FAILED/S" in heading
    assert "URL" in heading
    assert any("n1 " in line and "default" in line for line in screen)
    assert any("http://n1:1" in line for line in screen)


def test_what_has_no_room_is_counted_and_scrolls_into_view() -> None:
    made = top()
    made.focus = "events"
    events = [line for line in drawn(made, 80, 24) if line.startswith(("AT", "12:00:"))]
    assert events[0].endswith(f"1-{len(events) - 1} of 40")
    assert events[1].startswith("12:00:40")
    made.press("down")
    events = [line for line in drawn(made, 80, 24) if line.startswith(("AT", "12:00:"))]
    assert events[0].endswith(f"2-{len(events)} of 40")
    assert events[1].startswith("12:00:39")
    for _ in range(10):
        made.press("page-down")
    assert drawn(made, 80, 24)[-2].startswith("12:00:01"), "the last row stays the last"


def test_a_paused_silent_or_stale_one_says_so() -> None:
    made = top()
    made.press("p")
    assert drawn(made, 80, 24)[0].endswith("PAUSED 12:00:05")
    assert "p goes on" in drawn(made, 80, 24)[-1]
    made.press("p")
    made.saw(None, 100.0)
    assert drawn(made, 80, 24)[1].startswith("No node answers for 0 s; asked http://n1:1,")
    old = state(nodes=[{**state()["stats"]["figures"]["nodes"][0], "age_s": 9.0}])
    made.saw(("http://n1:1", old), 100.0)
    assert "9 s old" in "\n".join(drawn(made, 80, 24))


def test_where_letters_are_ascii_the_bars_are_too() -> None:
    made = top()
    made.done.extend([1.0, 2.0])
    assert "▁" in drawn(made, 80, 24)[3] or "█" in drawn(made, 80, 24)[3]
    assert drawn(made, 80, 24, encoding="ascii")[3].isascii()


def test_bars_grow_with_the_largest() -> None:
    assert sparkline([0.0, 1.0, 2.0, 4.0, 8.0], 10) == "▁▂▃▅█"
    assert sparkline([0.0, 0.0], 10) == "▁▁"
    assert sparkline(list(range(100)), 3) == "███"
    assert sparkline([], 3) == ""
    assert sparkline([1.0, 8.0], 5, plain=True) == ".#"


def test_the_room_is_shared_and_the_focused_pane_has_the_rest() -> None:
    assert shares([4, 4, 100], 15, 0) == [4, 4, 7]
    assert shares([50, 50, 50], 15, 1) == [5, 5, 5]
    assert shares([50, 50, 50], 20, 1) == [6, 8, 6]
    assert shares([2, 2, 2], 100, 0) == [2, 2, 2]
    assert shares([50, 50, 50], 2, 2) == [1, 1, 0]
    assert shares([5, 5], 0, 0) == [0, 0]


@pytest.mark.parametrize(("ms", "words"), [
    (None, "-"), (0.0, "0 ms"), (3.14, "3.1 ms"), (120.4, "120 ms"), (1240.0, "1.24 s"), (12_400.0, "12.4 s"),
    (192_000.0, "3 m 12 s"), (180_000.0, "3 m"), (7_500_000.0, "2 h 5 m"), (356_400_000.0, "4 d 3 h"),
])  # fmt: skip
def test_lengths_of_time_read_as_in_the_dashboard(ms: float | None, words: str) -> None:
    assert took(ms) == words


def test_rates_read_as_in_the_dashboard() -> None:
    assert [per_second({"last_10s": value}) for value in (0.04, 41.54, 1234.5)] == ["0.0", "41.5", "1,234"]
    assert per_second(None) == "-"
