"""`hegemon dead`: what failed for good."""

import pytest

from hegemon.client import Client
from tests.cli.conftest import Run
from tests.cli.fake_node_api import FakeNode
from tests.waiting import PATIENCE_S

NOBODY = "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"


def failed(client: Client, *, queue: str = "default", type: str = "fail") -> str:  # noqa: A002 -- the API's word
    payload = {"times": 9, "message": "kein Glück"}
    return client.wait(client.submit(type, payload, queue=queue, max_retries=0), PATIENCE_S).id


def test_dead_letters_are_listed_with_why(run: Run, client: Client) -> None:
    job_id = failed(client)
    ended = run("dead", "list", "--type", "fail")
    assert ended.code == 0
    assert job_id in ended.out
    assert "RuntimeError: kein Glück" in ended.out


def test_dead_letters_as_json_filter_by_queue(run: Run, client: Client) -> None:
    queue = f"q{id(run)}"
    job_id = failed(client, queue=queue)
    failed(client)
    ended = run("dead", "list", "--queue", queue, "-o", "json")
    assert [job["id"] for job in ended.json["jobs"]] == [job_id]
    assert run("dead", "list", "--queue", "empty").err == "No dead letters.\n"


@pytest.mark.parametrize("output", ["table", "json"])
def test_requeue_takes_only_what_was_chosen(output: str, run: Run, client: Client) -> None:
    queue = f"q{id(run)}"
    first, second, third = failed(client, queue=queue), failed(client, queue=queue), failed(client)
    ended = run("dead", "requeue", "--id", first, "--id", third, "-o", output)
    assert ended.code == 0
    assert ended.json == {"count": 2} if output == "json" else ended.out == "2 requeued\n"
    assert second in [job.id for job in client.dead(queue=queue)]
    assert run("dead", "requeue", "--queue", queue, "--type", "fail").out == "1 requeued\n"


def test_ids_that_are_no_dead_letters_exit_with_3(run: Run, client: Client) -> None:
    ended = run("dead", "requeue", "--id", failed(client), "--id", NOBODY)
    assert (ended.code, ended.out) == (3, "1 requeued\n")
    assert "1 of the ids" in ended.err


@pytest.mark.parametrize("command", ["requeue", "purge"])
@pytest.mark.parametrize("choice", [(), ("--all", "--type", "fail"), ("--id", NOBODY, "--all")])
def test_which_dead_letters_must_be_said_in_one_way(
    command: str, choice: tuple[str, ...], run: Run, fake: FakeNode
) -> None:
    ended = run("dead", command, *choice, stdin="y\n", tty=True)
    assert ended.code == 2
    assert "Say which dead letters" in ended.err
    assert fake.requests == []


def test_purge_without_a_terminal_is_refused_unless_told_yes(run: Run, client: Client) -> None:
    queue = f"q{id(run)}"
    failed(client, queue=queue)
    ended = run("dead", "purge", "--queue", queue, stdin="y\n")
    assert (ended.code, ended.out) == (2, "")
    assert "--yes" in ended.err
    assert len(list(client.dead(queue=queue))) == 1
    assert run("dead", "purge", "--queue", queue, "--yes").out == "1 purged\n"
    assert list(client.dead(queue=queue)) == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 130, 1), ("\n", 130, 1), ("", 130, 1)])
def test_purge_at_a_terminal_asks_and_takes_only_yes_for_yes(
    answer: str, code: int, left: int, run: Run, client: Client
) -> None:
    queue = f"q{id(run)}"
    failed(client, queue=queue)
    ended = run("dead", "purge", "--queue", queue, "-o", "json", stdin=answer, tty=True)
    assert ended.code == code
    assert f"all dead letters of queue '{queue}'" in ended.err
    assert ended.out == ('{\n  "count": 1\n}\n' if code == 0 else "")
    assert len(list(client.dead(queue=queue))) == left


def test_purge_of_everything_says_everything(run: Run, client: Client) -> None:
    failed(client)
    ended = run("dead", "purge", "--all", stdin="y\n", tty=True)
    assert "ALL dead letters" in ended.err
    assert list(client.dead()) == []
