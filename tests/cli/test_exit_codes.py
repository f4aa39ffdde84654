"""Every way in which a command can end, its code and its sentence."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer

from hegemon import __version__
from hegemon.cli import app, exits
from hegemon.cli.exits import ExitCode
from tests.cli.conftest import Run
from tests.cli.fake_node_api import FakeNode
from tests.nodes import free_port

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def one_or_two_sentences(text: str) -> bool:
    return text.startswith("hegemon: ") and text.count("\n") == 1 and "Traceback" not in text


def test_every_code_is_in_the_help_and_in_the_docs(bare_run: Run) -> None:
    documented = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE))
    assert documented == {str(int(code)): exits.MEANINGS[code] for code in ExitCode}
    words = " ".join(bare_run("--help").out.split())
    for code in ExitCode:
        assert f"{code} {exits.MEANINGS[code]}" in words


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (("job", "submit", "echo", "{'a': 1}"), "PAYLOAD is not JSON"),
        (("job", "submit", "echo", "[1]"), "must be a JSON object"),
        (("job", "submit", "echo", "@/there/is/no/such.json"), "Cannot read /there/is/no/such.json"),
        (("job", "submit", "echo", "-"), "stdin is not JSON"),
        (("job", "submit", "echo", "--delay", "10"), "--delay must have a unit"),
        (("job", "submit", "echo", "--timeout", "soon"), "--timeout must be a duration"),
        (("job", "submit", "echo", "--at", "tomorrow"), "--at must be a time"),
        (("job", "submit", "echo", "--key", "with a space"), "visible ASCII"),
        (("job", "submit", "echo", "--max-retries", "many"), "--max-retries"),
        (("job", "submit"), "TYPE"),
        (("job", "submit-batch", "-"), "holds no jobs"),
        (("job", "submit-batch", "/there/is/none"), "Cannot read"),
        (("job", "list", "--status", "done"), "completed"),
        (("job", "list", "--limit", "0"), "--limit"),
        (("job", "list", "--output", "xml"), "json"),
        (("job", "get", ""), "not a job id"),
        (("job", "wait", "x", "--timeout", "-1s"), "--timeout must be"),
        (("election", "demo", "--algorithm", "solo"), "known are bully, raft, gossip"),
        (("election", "demo", "--nodes", "2"), "raft needs a majority"),
        (("election", "demo", "--nodes", "1"), "--nodes"),
        (("election", "demo", "--kills", "0"), "--kills"),
        (("election", "bench", "--algorithms", "bully,paxos"), "'paxos' is not an algorithm"),
        (("election", "bench", "--nodes", "3,eleven"), "sizes from 2 to 10"),
        (("election", "bench", "--nodes", "2,3"), "raft needs a majority"),
        (("election", "bench", "--algorithms", ","), "Name an algorithm"),
        (("election", "bench", "--calm", "5"), "--calm must have a unit"),
        (("election", "bench", "--json", "/there/is/none/x.json"), "/there/is/none is not a directory"),
        (("election", "step-down", "--pause", "soon"), "--pause must be a duration"),
        (("election", "guide"), "bully"),
        (("cluster", "watch", "--for", "3"), "--for must have a unit"),
        (("user", "add", "ana", "--role", "boss"), "--role is one of admin, user, worker, viewer"),
        (("user", "change", "ana", "--role", "boss"), "--role is one of"),
        (("user", "change", "ana"), "Say what to change"),
        (("key", "add", "mailer", "--role", "boss"), "--role is one of"),
        (("key", "add", "mailer", "--expires-in", "90"), "--expires-in must have a unit"),
        (("token",), "Give the NAME of a service"),
        (("token", "mailer", "--ttl", "48h"), "from 1s to 24h"),
        (("--ca-file", "/there/is/none.pem", "--url", "https://127.0.0.1:1", "whoami"), "--ca-file"),
        (("--token", "smörgås", "whoami"), "--token"),
        (("job", "fetch"), "fetch"),
        (("jobs",), "jobs"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_sends_nothing(
    line: tuple[str, ...], hint: str, run: Run, fake: FakeNode
) -> None:
    ended = run(*line)
    assert (ended.code, ended.out) == (2, "")
    assert one_or_two_sentences(ended.err), ended.err
    assert hint in ended.err
    assert fake.requests == []


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://[", ""])
def test_a_wrong_url_exits_with_2(url: str, bare_run: Run) -> None:
    ended = bare_run("--url", url, "job", "list")
    assert ended.code == 2
    assert "--url" in ended.err
    assert one_or_two_sentences(ended.err)


@pytest.mark.parametrize(("status", "code"), [(422, "invalid_job"), (413, "payload_too_large"), (401, "http_401")])
def test_a_refusal_exits_with_4(status: int, code: str, run: Run, fake: FakeNode) -> None:
    fake.answer_next(status, code)
    ended = run("job", "submit", "echo")
    assert (ended.code, ended.out) == (4, "")
    assert code in ended.err
    assert one_or_two_sentences(ended.err)


@pytest.mark.parametrize(("status", "code"), [(503, "store_unavailable"), (429, "queue_full"), (500, "internal_error")])
def test_a_node_that_cannot_exits_with_5_and_says_when(status: int, code: str, run: Run, fake: FakeNode) -> None:
    fake.answer_next(status, code, retry_after=77)
    ended = run("job", "list")
    assert ended.code == 5
    assert "in 77 s" in ended.err
    assert one_or_two_sentences(ended.err)


def test_what_is_over_before_the_patience_is_goes_unnoticed(run: Run, fake: FakeNode) -> None:
    fake.answer_next(503, "store_unavailable", times=2)
    fake.answer_next(429, "queue_full", retry_after=0.01)
    assert run("job", "submit", "echo").code == 0
    assert len(fake.jobs) == 1


def test_nobody_there_exits_with_5_and_names_the_way_out(bare_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hegemon.client.retrying.PAUSE_S_MIN", 60.0)  # more than the patience: one try is enough here
    ended = bare_run("--url", f"http://127.0.0.1:{free_port()}", "job", "list", "-o", "json")
    assert (ended.code, ended.out) == (5, "")
    assert "hegemon up" in ended.err
    assert one_or_two_sentences(ended.err)


def test_a_submission_of_unknown_outcome_hands_over_its_key(run: Run, fake: FakeNode) -> None:
    fake.lose_replies(1)
    fake.answer_next(503, "store_unavailable", retry_after=77)
    ended = run("job", "submit", "echo")
    assert ended.code == 5
    key = re.search(r"--key (\S+)", ended.err)
    assert key is not None
    again = run("job", "submit", "echo", "--key", key[1])
    assert (again.code, list(fake.jobs)) == (0, [again.out.strip()])


def test_a_batch_of_unknown_outcome_says_to_look_first(run: Run, fake: FakeNode) -> None:
    fake.lose_replies(1)
    ended = run("job", "submit-batch", "-", stdin='{"type": "noop"}')
    assert ended.code == 5
    assert "look before you try again" in ended.err
    assert len(fake.jobs) == 1


def test_something_else_at_the_url_exits_with_5(run: Run, fake: FakeNode) -> None:
    fake.answer_text("<html>Welcome to nginx!</html>")
    ended = run("job", "list")
    assert ended.code == 5
    assert "Is --url right?" in ended.err
    assert one_or_two_sentences(ended.err)


def test_a_fault_of_our_own_is_a_sentence_and_70(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("hegemon.cli.job_screens.detail", broken)
    job_id = run("job", "submit", "noop").out.strip()
    ended = run("job", "get", job_id)
    assert ended.code == 70
    assert one_or_two_sentences(ended.err)
    monkeypatch.setenv("HEGEMON_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("job", "get", job_id)


def test_the_url_comes_from_the_environment_and_the_option_wins(
    bare_run: Run, api_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEGEMON_URL", api_url)
    assert bare_run("job", "list").code == 0
    monkeypatch.setenv("HEGEMON_URL", "nonsense")
    assert bare_run("job", "list").code == 2
    assert bare_run("--url", api_url, "job", "list").code == 0


def test_the_version_is_the_package_s(bare_run: Run) -> None:
    assert bare_run("--version").out == f"hegemon {__version__}\n"


@pytest.mark.parametrize("group", [(), ("job",), ("dead",), ("cluster",)])
def test_help_names_the_commands_and_asking_for_none_is_a_wrong_line(group: tuple[str, ...], bare_run: Run) -> None:
    helped, bare = bare_run(*group, "--help"), bare_run(*group)
    assert (helped.code, bare.code) == (0, 2)
    assert "Commands:" in helped.out
    assert bare.err.strip() == helped.out.strip()


def test_a_command_that_is_not_installed_is_said_to_be(bare_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hegemon.cli.up", None)
    ended = bare_run("up")
    assert ended.code == 2
    assert "cannot run `hegemon up`" in ended.err


def test_up_and_node_get_their_arguments_untouched(bare_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def node(port: int, loud: bool = False) -> None:
        typer.echo(f"port {port}, {loud}")

    module = ModuleType("hegemon.cli.node")
    module.node = node  # type: ignore[attr-defined] # a module made for this test
    monkeypatch.setitem(sys.modules, "hegemon.cli.node", module)
    assert bare_run("node", "8080", "--loud").out == "port 8080, True\n"
    assert "--loud" in bare_run("node", "--help").out
    wrong = bare_run("node", "--quiet", "1")
    assert (wrong.code, one_or_two_sentences(wrong.err)) == (2, True)
    assert "hegemon node --help" in wrong.err


def test_the_whole_tree_is_what_the_issue_asks_for() -> None:
    tree = {
        group.name: {
            command.name or getattr(command.callback, "__name__", "")
            for command in group.typer_instance.registered_commands
        }
        for group in app.app.registered_groups
        if group.typer_instance is not None
    }
    assert tree["job"] >= {"submit", "submit-batch", "list", "get", "wait", "cancel", "retry", "delete"}
    assert tree["dead"] == {"list", "requeue", "purge"}
    assert tree["cluster"] == {"status", "watch"}
    assert tree["election"] == {"guide", "step-down", "demo", "bench"}
