"""`hegemon job`, as people and as programs use it."""

import json
from pathlib import Path
from typing import Any

import pytest

from hegemon.client import Client
from hegemon.queue.ids import is_id
from tests.cli.conftest import Run
from tests.cli.fake_node_api import FakeNode

UNICODE = {"name": "Zoë 🐘", "größe": "٣", "quote": '"\\'}
UNHANDLED = "nobody-handles-this"
NOBODY = "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"


def submitted(run: Run, *args: str) -> str:
    ended = run("job", "submit", *args)
    assert (ended.code, ended.err) == (0, "")
    return ended.out.strip()


def test_submit_prints_the_id_and_nothing_else(run: Run, client: Client) -> None:
    job_id = submitted(run, "echo", '{"a": 1}')
    assert is_id(job_id)
    assert client.get(job_id).payload == {"a": 1}


def test_submit_as_json_is_one_document(run: Run) -> None:
    ended = run("job", "submit", "echo", "-o", "json")
    assert ended.json.keys() == {"id", "status", "replayed", "request_id"}
    assert (ended.json["status"], ended.json["replayed"], ended.err) == ("pending", False, "")


def test_every_option_of_submit_reaches_the_job(run: Run, client: Client) -> None:
    job_id = submitted(
        run,
        *(UNHANDLED, "--priority", "high", "--queue", "mail", "--delay", "1m30s", "--max-retries", "7"),
        *("--timeout", "1500ms", "--tag", "a", "--tag", "b"),
    )
    job = client.get(job_id)
    assert (job.priority, job.queue, job.status, job.max_retries) == (7, "mail", "scheduled", 7)
    assert (job.timeout, job.tags) == (1.5, ["a", "b"])


def test_a_time_without_a_zone_is_local_time(run: Run, client: Client) -> None:
    moment = client.get(submitted(run, UNHANDLED, "--at", "2090-01-31T09:00")).scheduled_at
    assert moment is not None
    assert moment.astimezone().strftime("%Y-%m-%dT%H:%M") == "2090-01-31T09:00"


@pytest.mark.parametrize("how", ["argument", "file", "stdin"])
def test_a_payload_keeps_its_letters_whichever_way_it_comes(how: str, run: Run, client: Client, tmp_path: Path) -> None:
    text = json.dumps(UNICODE, ensure_ascii=False)
    path = tmp_path / "größe.json"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n")
    argument = {"argument": text, "file": f"@{path}", "stdin": "-"}[how]
    ended = run("job", "submit", "echo", argument, stdin=text)
    assert client.get(ended.out.strip()).payload == UNICODE


def test_the_same_key_gives_the_same_job_and_says_so(run: Run) -> None:
    key = f"key-{id(run)}-{NOBODY}"
    first = run("job", "submit", "echo", '{"n": 1}', "--key", key)
    again = run("job", "submit", "echo", '{"n": 1}', "--key", key)
    assert (again.code, again.out) == (0, first.out)
    assert "same job" in again.err
    other = run("job", "submit", "echo", '{"n": 2}', "--key", key)
    assert other.code == 4
    assert "idempotency_key_reused" in other.err


def test_submit_and_wait_shows_the_result(run: Run) -> None:
    ended = run("job", "submit", "echo", json.dumps(UNICODE), "--wait")
    assert ended.code == 0
    assert "completed" in ended.out
    assert "Zoë 🐘" in ended.out


def test_submit_and_wait_as_json_is_the_job(run: Run) -> None:
    ended = run("job", "submit", "echo", '{"a": 1}', "--wait", "-o", "json")
    assert (ended.code, ended.json["status"], ended.json["result"], ended.err) == (0, "completed", {"a": 1}, "")


def test_a_job_that_fails_while_waited_for_exits_with_1(run: Run) -> None:
    ended = run("job", "submit", "fail", '{"times": 9, "message": "no luck"}', "--max-retries", "0", "--wait")
    assert ended.code == 1
    assert "RuntimeError: no luck" in ended.out


def test_waiting_for_a_cancelled_job_exits_with_1(run: Run) -> None:
    job_id = submitted(run, UNHANDLED)
    assert run("job", "cancel", job_id).code == 0
    ended = run("job", "wait", job_id, "-o", "json")
    assert (ended.code, ended.json["status"]) == (1, "cancelled")


def test_a_wait_that_is_too_short_exits_with_6_and_shows_the_job(run: Run) -> None:
    job_id = submitted(run, UNHANDLED)
    ended = run("job", "wait", job_id, "--timeout", "50ms", "-o", "json")
    assert (ended.code, ended.json["status"]) == (6, "pending")
    assert "still pending" in ended.err


def test_a_wait_lasts_until_the_job_has_ended(run: Run) -> None:
    job_id = submitted(run, "sleep", '{"seconds": 0.2}')
    ended = run("job", "wait", job_id, "--timeout", "60s")
    assert ended.code == 0
    assert "completed" in ended.out


@pytest.mark.parametrize("array", [True, False])
def test_a_batch_comes_as_an_array_or_as_lines(array: bool, run: Run, client: Client) -> None:
    jobs: list[dict[str, Any]] = [{"type": "echo", "payload": UNICODE}, {"type": "noop", "priority": "low"}]
    text = json.dumps(jobs, indent=2) if array else "\n\n".join(json.dumps(job) for job in jobs) + "\n"
    ended = run("job", "submit-batch", "-", stdin=text)
    first, second = ended.out.split()
    assert client.get(first).payload == UNICODE
    assert client.get(second).priority == 1


def test_a_batch_from_a_file_as_json(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text('{"type": "noop"}\n{"type": "noop"}')
    ended = run("job", "submit-batch", str(path), "-o", "json")
    assert ended.code == 0
    assert [is_id(job_id) for job_id in ended.json["ids"]] == [True, True]


def test_a_wrong_line_of_a_batch_is_named_and_nothing_is_sent(run: Run, fake: FakeNode) -> None:
    ended = run("job", "submit-batch", "-", stdin='{"type": "noop"}\n{"type": ')
    assert ended.code == 2
    assert "stdin, line 2" in ended.err
    assert fake.requests == []


def test_a_refused_batch_names_the_job_and_the_field(run: Run) -> None:
    ended = run("job", "submit-batch", "-", stdin='[{"type": "noop"}, {"type": "noop", "colour": "red"}]')
    assert ended.code == 4
    assert "jobs[1].colour" in ended.err


def test_get_shows_everything_about_a_job(run: Run) -> None:
    job_id = submitted(run, "fail", '{"times": 9, "message": "ach je"}', "--max-retries", "0", "--tag", "nightly")
    run("job", "wait", job_id)
    ended = run("job", "get", job_id)
    assert ended.code == 0
    for part in (job_id, "failed", "RuntimeError: ach je", "Traceback", "nightly", "OUTCOME"):
        assert part in ended.out


def test_get_as_json_is_the_api_s_own_document(run: Run, fake: FakeNode) -> None:
    job_id = submitted(run, "echo", '{"big": 123456789012345678901234567890, "one": 1.0}')
    ended = run("job", "get", job_id, "-o", "json")
    assert ended.json == fake.look(fake.jobs[job_id])
    assert "123456789012345678901234567890" in ended.out


def test_list_filters_and_shows_whole_ids(run: Run) -> None:
    tag = f"t{id(run)}"
    wanted = submitted(run, UNHANDLED, "--tag", tag)
    other = submitted(run, UNHANDLED)
    ended = run("job", "list", "--status", "pending", "--type", UNHANDLED, "--queue", "default", "--tag", tag)
    assert wanted in ended.out
    assert other not in ended.out
    as_json = run("job", "list", "--tag", tag, "-o", "json")
    assert [job["id"] for job in as_json.json["jobs"]] == [wanted]
    assert as_json.json["next_cursor"] is None


def test_an_empty_list_says_so_beside_the_result(run: Run) -> None:
    ended = run("job", "list", "--tag", "there-is-none")
    assert (ended.code, ended.out, ended.err) == (0, "", "No such jobs.\n")
    assert run("job", "list", "--tag", "there-is-none", "-o", "json").json == {"jobs": [], "next_cursor": None}


def test_a_list_is_as_long_as_asked_across_pages(run: Run, client: Client) -> None:
    tag = f"t{id(run)}"
    ids = client.submit_batch([{"type": UNHANDLED, "tags": [tag]} for _ in range(230)])
    some = run("job", "list", "--tag", tag, "--limit", "120", "-o", "json").json
    assert (len(some["jobs"]), some["next_cursor"] is not None) == (120, True)
    every = run("job", "list", "--tag", tag, "--all", "-o", "json").json
    assert {job["id"] for job in every["jobs"]} == set(ids)
    assert (len(every["jobs"]), every["next_cursor"]) == (230, None)
    people = run("job", "list", "--tag", tag)
    assert len(people.out.splitlines()) == 21
    assert "--all" in people.err


def test_cancel_retry_and_delete_say_what_became_of_the_job(run: Run, client: Client) -> None:
    job_id = submitted(run, UNHANDLED)
    assert "cancelled" in run("job", "cancel", job_id).out
    assert "pending" in run("job", "retry", job_id).out
    assert run("job", "cancel", job_id, "-o", "json").json["status"] == "cancelled"
    assert run("job", "retry", job_id, "-o", "json").json["status"] == "pending"
    client.cancel(job_id)
    assert run("job", "delete", job_id).out == f"{job_id} deleted\n"
    assert run("job", "get", job_id).code == 3


def test_delete_as_json(run: Run) -> None:
    job_id = submitted(run, UNHANDLED)
    run("job", "cancel", job_id)
    assert run("job", "delete", job_id, "-o", "json").json == {"id": job_id, "deleted": True}


def test_what_the_state_forbids_exits_with_4(run: Run) -> None:
    job_id = submitted(run, UNHANDLED)
    for command in ("retry", "delete"):
        ended = run("job", command, job_id)
        assert (ended.code, ended.out) == (4, "")
        assert "job_state_conflict" in ended.err


@pytest.mark.parametrize("command", ["get", "wait", "cancel", "retry", "delete"])
@pytest.mark.parametrize("job_id", [NOBODY, "no-id-at-all"])
def test_an_unknown_id_exits_with_3(command: str, job_id: str, run: Run) -> None:
    ended = run("job", command, job_id)
    assert (ended.code, ended.out) == (3, "")
    assert "job_not_found" in ended.err


@pytest.mark.parametrize("output", ["table", "json"])
def test_control_characters_of_a_job_do_not_reach_the_terminal(output: str, run: Run) -> None:
    job_id = submitted(run, "fail", json.dumps({"times": 9, "message": "a\x1b[31mred\r\nb"}), "--max-retries", "0")
    run("job", "wait", job_id)
    for command in (("job", "get", job_id), ("dead", "list", "--all"), ("job", "list")):
        ended = run(*command, "-o", output)
        assert ended.code == 0
        assert "\x1b" not in ended.out
        assert "\r" not in ended.out
