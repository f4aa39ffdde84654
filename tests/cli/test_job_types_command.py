"""`hegemon job types`: which types there are, and what their payloads hold."""

from hegemon.client import Client
from tests.cli.conftest import Run
from tests.cli.fake_node_api import FakeNode
from tests.cli.fake_types import SHAPED, TYPES


def test_every_type_is_a_line_with_its_arguments(run: Run, fake: FakeNode) -> None:
    ended = run("job", "types")
    assert (ended.code, ended.err) == (0, "")
    heading, *lines = ended.out.splitlines()
    assert heading.split() == ["TYPE", "ARGUMENTS", "NODES", "WHAT"]
    words = [line.split() for line in lines]
    assert words[0] == ["echo", "…", "n1", "Return", "the", "payload."]
    assert words[1] == ["fresh", "?", "n3", "-"]
    shaped = " ".join(words[2])
    assert shaped.startswith("shaped title [size] [how] [names] address [when] [share] [anything] n1, n2 Takes one")


def test_one_type_is_shown_with_all_that_its_payload_holds(run: Run, fake: FakeNode) -> None:
    ended = run("job", "types", "shaped")
    assert (ended.code, ended.err) == (0, "")
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in ended.out.splitlines() if line.strip()}
    assert lines["title"] == "string (required) What it is called."
    assert lines["size"] == "integer 1 to 10 3 -"
    assert lines["how"] == '"fast" | "slow" "fast" -'
    assert lines["names"] == "list of string | null null -"
    assert lines["address"] == "{street, next} (required) -"
    assert lines["when"] == 'string, date-time "2030-01-31T09:00:00Z" -'
    assert lines["share"] == "number > 0 0.5 -"
    assert lines["anything"] == "any JSON null -"
    assert lines["differing"].startswith("n2: another version")
    assert (lines["retries"], lines["And"]) == ("7", "gives it back.")
    assert "any arguments" in run("job", "types", "echo").out
    assert "has not told" in run("job", "types", "fresh").out


def test_types_as_json_are_what_the_node_said(run: Run, client: Client, fake: FakeNode) -> None:
    assert run("job", "types", "-o", "json").json == {"types": TYPES}
    assert run("job", "types", "shaped", "-o", "json").json == SHAPED
    assert client.types() == TYPES


def test_a_type_that_nobody_handles_is_not_found(run: Run, fake: FakeNode) -> None:
    ended = run("job", "types", "nothing-like-it")
    assert (ended.code, ended.out) == (3, "")
    assert "No live worker handles 'nothing-like-it'" in ended.err
