"""The Python client: what it sends, what it makes of answers, and that trouble on the way makes no second job."""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hegemon.client import ApiError, AsyncClient, Client, Unreachable, WaitTimeout
from tests.cli.fake_node_api import FakeNode
from tests.nodes import free_port
from tests.waiting import PATIENCE_S

UNHANDLED = "nobody-handles-this"


class Clock:
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The client's time, which passes only while it pauses."""
    clock = Clock()
    monkeypatch.setattr("hegemon.client.sync.time", clock)
    return clock


def test_both_clients_offer_the_same_methods_with_the_same_arguments() -> None:
    def surface(kind: type) -> dict[str, list[str]]:
        return {
            name.replace("aclose", "close"): list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert surface(Client) == surface(AsyncClient)
    assert inspect.signature(Client) == inspect.signature(AsyncClient)


def test_a_lost_reply_does_not_make_a_second_job(client: Client, fake: FakeNode) -> None:
    fake.lose_replies(3)
    job_id = client.submit("echo", {"a": 1})
    assert list(fake.jobs) == [job_id]
    assert fake.requests == ["POST /api/v1/jobs"] * 4


async def test_a_lost_reply_does_not_make_a_second_job_with_asyncio(fake: FakeNode) -> None:
    fake.lose_replies(3)
    async with AsyncClient(fake.url, retry_for=PATIENCE_S) as client:
        job_id = await client.submit("echo", {"a": 1}, priority="high")
        assert (await client.wait(job_id, PATIENCE_S)).result == {"a": 1}
        assert [job.id async for job in client.jobs()] == [job_id]
    assert list(fake.jobs) == [job_id]


def test_a_lost_reply_to_a_batch_is_reported_and_not_repeated(client: Client, fake: FakeNode) -> None:
    fake.lose_replies(1)
    with pytest.raises(Unreachable) as caught:
        client.submit_batch([{"type": "noop"}] * 3)
    assert caught.value.sent
    assert len(fake.jobs) == 3


def test_a_batch_that_was_turned_away_is_sent_again(client: Client, fake: FakeNode) -> None:
    fake.answer_next(429, "queue_full")
    fake.answer_next(503, "overloaded")
    assert len(client.submit_batch([{"type": "noop"}] * 3)) == 3
    assert len(fake.jobs) == 3


def test_what_has_no_key_is_not_repeated_when_it_may_have_been_done(client: Client, fake: FakeNode) -> None:
    job_id = client.submit(UNHANDLED)
    fake.answer_next(503, "outcome_unknown")
    with pytest.raises(ApiError) as caught:
        client.cancel(job_id)
    assert (caught.value.uncertain, caught.value.code) == (True, "outcome_unknown")
    assert sum("cancel" in request for request in fake.requests) == 1


def test_a_key_that_is_still_in_use_is_asked_again(client: Client, fake: FakeNode) -> None:
    fake.answer_next(409, "idempotency_key_in_flight", times=2)
    assert client.submit("noop") in fake.jobs


def test_reading_goes_on_across_an_outage(client: Client, fake: FakeNode) -> None:
    job_id = client.submit("noop")
    fake.answer_next(503, "store_unavailable")
    fake.lose_replies(1)
    fake.answer_next(502, "http_502")
    assert client.get(job_id).id == job_id


def test_a_retry_after_beyond_the_patience_is_told_at_once(client: Client, fake: FakeNode, clock: Clock) -> None:
    fake.answer_next(503, "store_unavailable", retry_after=600)
    with pytest.raises(ApiError) as caught:
        client.submit("noop")
    assert (caught.value.status, caught.value.retry_after) == (503, 600)
    assert clock.now_s == 0.0
    assert len(fake.requests) == 1


def test_retrying_ends_with_the_patience(fake: FakeNode, clock: Clock) -> None:
    fake.answer_next(503, "store_unavailable", times=1000)
    with Client(fake.url, retry_for=1.5) as client, pytest.raises(ApiError):
        client.submit("noop")
    assert 3 <= len(fake.requests) <= 10
    assert 0.5 <= clock.now_s <= 1.5


def test_nobody_there_is_unreachable_and_nothing_was_sent() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", retry_for=0.1) as client, pytest.raises(Unreachable) as caught:
        client.submit("noop")
    assert not caught.value.sent


def test_an_earlier_try_that_may_have_arrived_is_not_forgotten(fake: FakeNode, clock: Clock) -> None:
    fake.lose_replies(1)
    fake.answer_next(503, "store_unavailable", times=1000)
    with Client(fake.url, retry_for=1.5) as client, pytest.raises(ApiError) as caught:
        client.submit("noop")
    assert clock.now_s > 0
    assert caught.value.uncertain
    assert client_keys(fake) == [caught.value.idempotency_key]


def client_keys(fake: FakeNode) -> list[str]:
    return list(fake.keys)


def test_a_node_that_is_too_slow_is_unreachable(fake: FakeNode) -> None:
    slow = pytest.raises(Unreachable, match="too long")
    with Client(fake.url, timeout=0.1, retry_for=0) as client, fake.lock, slow:
        client.get("x")


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "localhost", "http://", "unix:///x", "http://h:99999"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_is_no_url_of_a_node_is_refused_with_an_example(url: str, kind: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"looks like http://127\.0\.0\.1:8080"):
        kind(url)


def test_a_path_in_the_url_is_kept(fake: FakeNode) -> None:
    with Client(f"{fake.url}/behind/a/proxy/") as client, pytest.raises(ApiError):
        client.stats()
    assert fake.requests == ["GET /behind/a/proxy/api/v1/stats"]


def test_options_travel_as_the_api_wants_them(client: Client, fake: FakeNode) -> None:
    moment = datetime(2090, 1, 31, 9, 0, tzinfo=UTC)
    client.submit(
        UNHANDLED,
        {"n": 1},
        delay=timedelta(minutes=1.5),
        expires_at=moment,
        timeout=2,
        tags=("a", "b"),
        retry={"policy": "fixed"},
        queue=None,
    )
    (job,) = fake.jobs.values()
    assert job["_body"] == {
        "type": UNHANDLED,
        "payload": {"n": 1},
        "delay": 90.0,
        "expires_at": "2090-01-31T09:00:00Z",
        "timeout": 2,
        "tags": ["a", "b"],
        "retry": {"policy": "fixed"},
    }


def test_wrong_arguments_are_refused_before_anything_is_sent(client: Client, fake: FakeNode) -> None:
    with pytest.raises(ValueError, match="scheduled_at must have a time zone"):
        client.submit("noop", scheduled_at=datetime(2090, 1, 1))  # noqa: DTZ001 -- that is the point
    with pytest.raises(TypeError, match="no option 'colour'"):
        client.submit("noop", colour="red")  # type: ignore[call-arg] # that is the point
    with pytest.raises(ValueError, match="visible ASCII"):
        client.submit("noop", idempotency_key="")
    for job_id in ("", ".", ".."):
        with pytest.raises(ValueError, match="not a job id"):
            client.delete(job_id)
    for wrong in ({}, {"all": True, "type": "x"}, {"ids": [], "queue": "x"}):
        with pytest.raises(ValueError, match="say which"):
            client.purge_dead(**wrong)
    with pytest.raises(TypeError, match="list of job ids"):
        client.purge_dead("0199")
    assert fake.requests == []


def test_an_id_cannot_lead_to_another_path(client: Client, fake: FakeNode) -> None:
    with pytest.raises(ApiError):
        client.get("x/../../stats?limit=1")
    assert fake.requests == ["GET /api/v1/jobs/x%2F..%2F..%2Fstats%3Flimit%3D1"]


def test_a_job_is_typed_and_keeps_what_this_version_does_not_know(client: Client, fake: FakeNode) -> None:
    job = client.wait(client.submit("echo", {"größe": "🐘"}, tags=["a"]), PATIENCE_S)
    assert (job.ended, job.result, job.tags) == (True, {"größe": "🐘"}, ["a"])
    assert job.created_at is not None
    assert job.created_at.utcoffset() == timedelta(0)
    assert job.history[0].outcome == "completed"
    assert job.source["a_field_of_the_future"] == {"n": 12345678901234567890123}


def test_a_refusal_says_which_field(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.submit_batch([{"type": "noop"}, {"type": "noop", "colour": "red"}])
    assert (caught.value.status, caught.value.code) == (422, "invalid_job")
    assert caught.value.field == "jobs[1].colour"


def test_an_answer_that_is_not_the_api_s_is_no_crash(client: Client, fake: FakeNode) -> None:
    for text in ("<html>", "[]", "{}", '{"id": 5}', '{"id": "a", "type": "b", "status": "c", "created_at": "noon"}'):
        fake.answer_text(text)
        with pytest.raises(ApiError) as caught:
            client.get("x")
        assert caught.value.code == "unexpected_answer"


def test_waiting_lasts_over_many_polls(client: Client, fake: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hegemon.client.calls.POLL_S_MAX", 0.05)
    look = fake.look

    def ended_in_the_third_poll(job: dict[str, Any]) -> dict[str, Any]:
        if sum("/wait" in request for request in fake.requests) == 3:
            job["payload"] = {"seconds": 0}
        return look(job)

    monkeypatch.setattr(fake, "look", ended_in_the_third_poll)
    job_id = client.submit("sleep", {"seconds": 3600})
    assert client.wait(job_id).status == "completed"
    assert sum("/wait" in request for request in fake.requests) == 3


def test_waiting_too_long_raises_and_shows_the_job(client: Client) -> None:
    job_id = client.submit(UNHANDLED)
    with pytest.raises(TimeoutError) as caught:
        client.wait(job_id, 0.05)
    assert isinstance(caught.value, WaitTimeout)
    assert (caught.value.job.id, caught.value.job.ended) == (job_id, False)


def test_all_pages_are_read_once_and_only_when_needed(client: Client, fake: FakeNode) -> None:
    ids = client.submit_batch([{"type": UNHANDLED} for _ in range(230)])
    fake.requests.clear()
    pages = client.jobs()
    next(pages)
    assert len(fake.requests) == 1
    assert [job.id for job in client.jobs()] == ids[::-1]
    assert len(list(client.jobs(limit=150))) == 150


def test_the_views_are_what_the_api_says(client: Client) -> None:
    assert client.stats().keys() >= {"jobs", "queue", "node"}
    assert client.leader()["leader_id"] == client.nodes()[0]["id"]
    assert client.workers()[0]["slots"] >= 1
    assert client.election()["epoch"] >= 1
    assert client.cluster()["cluster_id"]


async def test_the_async_client_does_everything_too(fake: FakeNode) -> None:
    async with AsyncClient(fake.url) as client:
        job_id = await client.submit(UNHANDLED)
        assert (await client.get(job_id)).status == "pending"
        assert (await client.cancel(job_id)).status == "cancelled"
        assert (await client.retry(job_id)).status == "pending"
        with pytest.raises(WaitTimeout):
            await client.wait(job_id, 0.05)
        await client.cancel(job_id)
        await client.delete(job_id)
        dead = await client.submit_batch([{"type": "fail"}, {"type": "fail"}])
        assert {job.id async for job in client.dead(limit=2)} == set(dead)
        assert await client.requeue_dead(dead[:1]) == 1
        assert await client.purge_dead(all=True) == 1
        assert (await client.stats())["jobs"]["pending"] == 1
        assert (await client.workers())[0]["node"] == (await client.nodes())[0]["id"]
        assert (await client.leader())["epoch"] == (await client.election())["epoch"]
        assert (await client.cluster())["cluster_id"] == "c-42"
