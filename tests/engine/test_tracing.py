"""Traces of real jobs, as a collector gets them: from the caller through the API and the queue into the handler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import redis
from opentelemetry.sdk.trace import TracerProvider

from hegemon.client import AsyncClient
from tests.conftest import RedisServer
from tests.engine.conftest import Environment
from tests.engine.otlp import Receiver, Span, receiving
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDLERS = "examples.jobs,tests.handlers,tests.engine.talkative_handlers"
INTERNAL, PRODUCER, CONSUMER = 1, 4, 5
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traced(shared_environment: Environment, receiver: Receiver) -> AsyncIterator[NodeProcess]:
    """A node that sends its spans to the receiver, soon."""
    settings = {
        "HANDLERS": HANDLERS,
        "TRACING_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    async with node(shared_environment | settings) as started:
        yield started


async def submitted(one: NodeProcess, type_: str, trace: str, *, sampled: bool = True, **options: Any) -> str:
    headers = {"traceparent": f"00-{trace}-{SPAN}-{'01' if sampled else '00'}", "tracestate": "vendor=1"}
    answer = await one.api.post("/api/v1/jobs", json={"type": type_, **options}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def spans(receiver: Receiver, trace: str, count: int) -> list[Span]:
    """All spans of a trace, in the order of their beginning, once there are so many."""
    await wait_until(lambda: len(receiver.of(trace)) >= count, message=f"{count} spans of {trace}")
    assert len(receiver.of(trace)) == count, [span.name for span in receiver.of(trace)]
    return sorted(receiver.of(trace), key=lambda span: span.start_ns)


def named(found: list[Span], name: str) -> list[Span]:
    return [span for span in found if span.name == name]


async def test_one_trace_leads_from_the_client_through_the_api_into_the_handler(
    traced: NodeProcess, receiver: Receiver
) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("caller")
    async with AsyncClient(traced.url) as client:
        with tracer.start_as_current_span("caller") as caller:
            job_id = await client.submit("span", queue="mail")
    context = caller.get_span_context()
    trace, caller_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    job = await traced.wait(job_id)
    found = await spans(receiver, trace, 4)
    [submit], [wait] = named(found, "submit mail"), named(found, "wait mail")
    [process], [inner] = named(found, "process mail"), named(found, "inner")
    assert (submit.parent, wait.parent, process.parent, inner.parent) == (caller_id, submit.id, submit.id, process.id)
    assert (submit.kind, wait.kind, process.kind) == (PRODUCER, INTERNAL, CONSUMER)
    assert process.links == [(trace, submit.id)]
    assert (
        submit.attributes.items()
        >= {
            "messaging.system": "hegemon",
            "messaging.operation.name": "submit",
            "messaging.operation.type": "send",
            "messaging.destination.name": "mail",
            "messaging.message.id": job_id,
            "hegemon.job.type": "span",
            "hegemon.request.id": job["request_id"],
        }.items()
    )
    assert (
        process.attributes.items()
        >= {
            "messaging.operation.type": "process",
            "messaging.destination.name": "mail",
            "messaging.message.id": job_id,
            "hegemon.job.attempt": 1,
            "hegemon.job.outcome": "completed",
            "hegemon.request.id": job["request_id"],
        }.items()
    )
    assert wait.start_ns <= wait.end_ns == process.start_ns <= inner.start_ns <= inner.end_ns <= process.end_ns
    about = {"service.name": "hegemon", "deployment.environment.name": "test"}
    assert all(span.resource.items() >= about.items() for span in found)
    assert submit.resource["service.instance.id"] == "n1"
    assert process.resource["service.instance.id"] == process.attributes["messaging.client.id"]
    # The handler passes on its own place in the trace, and the job keeps that of its submission.
    assert job["result"].startswith(f"00-{trace}-{process.id}-")
    assert job["traceparent"].startswith(f"00-{trace}-{submit.id}-")


async def test_an_attempt_is_linked_to_the_one_before_it(traced: NodeProcess, receiver: Receiver) -> None:
    trace = f"a{TRACE[1:]}"
    await traced.wait(await submitted(traced, "span", trace, payload={"times": 2}))
    found = await spans(receiver, trace, 1 + 3 * 3)
    [submit] = named(found, "submit default")
    first, second, third = named(found, "process default")
    assert [span.attributes["hegemon.job.attempt"] for span in (first, second, third)] == [1, 2, 3]
    assert {span.parent for span in (first, second, third)} == {submit.id}
    assert [span.links[1:] for span in (first, second, third)] == [[], [(trace, first.id)], [(trace, second.id)]]
    assert [span.failed for span in (first, second, third)] == [True, True, False]
    assert (first.attributes["error.type"], first.events) == ("ConnectionError", ["exception"])


async def test_a_handler_in_a_thread_is_inside_its_span(traced: NodeProcess, receiver: Receiver) -> None:
    trace = f"b{TRACE[1:]}"
    await traced.wait(await submitted(traced, "span-in-a-thread", trace))
    found = await spans(receiver, trace, 4)
    assert named(found, "inner")[0].parent == named(found, "process default")[0].id


async def test_the_time_in_the_queue_is_counted_from_when_the_job_could_run(
    traced: NodeProcess, receiver: Receiver
) -> None:
    trace = f"c{TRACE[1:]}"
    await traced.wait(await submitted(traced, "span", trace, delay=1.0))
    found = await spans(receiver, trace, 4)
    [wait], [submit] = named(found, "wait default"), named(found, "submit default")
    # Its delay is no waiting. (Times are those of one machine here.)
    assert wait.start_ns - submit.start_ns >= 700e6


async def test_a_batch_is_one_span_whose_jobs_are_all_its_children(traced: NodeProcess, receiver: Receiver) -> None:
    trace = f"d{TRACE[1:]}"
    body = {"jobs": [{"type": "span", "queue": queue} for queue in ("one", "one", "two")]}
    headers = {"traceparent": f"00-{trace}-{SPAN}-01"}
    answer = (await traced.api.post("/api/v1/jobs/batch", json=body, headers=headers)).raise_for_status()
    for job_id in answer.json()["ids"]:
        await traced.wait(job_id)
    found = await spans(receiver, trace, 1 + 3 * 3)
    [submit] = named(found, "submit (several)")
    assert submit.attributes["messaging.batch.message_count"] == 3
    assert {span.parent for span in named(found, "process one") + named(found, "process two")} == {submit.id}


async def test_what_is_not_sampled_makes_no_span_and_the_handler_knows(traced: NodeProcess, receiver: Receiver) -> None:
    silent, loud = f"e{TRACE[1:]}", f"f{TRACE[1:]}"
    job = await traced.wait(await submitted(traced, "span", silent, sampled=False))
    assert job["result"][:36] == f"00-{silent}-"
    assert int(job["result"][53:], 16) & 1 == 0
    # What came later has arrived, so what came before would have.
    await traced.wait(await submitted(traced, "span", loud))
    await spans(receiver, loud, 4)
    assert receiver.of(silent) == []


async def test_links_outlive_the_index_and_the_leader(
    environment: Environment, receiver: Receiver, redis_server: RedisServer
) -> None:
    trace = f"1{TRACE[1:]}"
    # In .env it is as good as in the environment.
    settings = {"HANDLERS": HANDLERS, "RETRY_BASE_DELAY": "10s", "TRACING_ENABLED": "true"}
    async with node(environment | settings, start=False) as one:
        env_file = one.environment_file()
        env_file.write_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.url}\nOTEL_BSP_SCHEDULE_DELAY=50\n")
        await one.start()
        job_id = await submitted(one, "span", trace, payload={"times": 1})

        async def retrying() -> bool:
            return bool((await one.job(job_id))["status"] == "retrying")

        await wait_until(retrying, message="the first try to fail")
        await wait_until(lambda: len(named(receiver.of(trace), "process default")) >= 1, message="its span")
        await one.kill()
        with redis.Redis.from_url(redis_server.url) as client:
            for key in client.scan_iter(match=f"hegemon:*{environment['CLUSTER_ID']}*", count=1000):
                client.unlink(key)
        await one.start()
        await one.wait(job_id)
        await wait_until(lambda: len(named(receiver.of(trace), "process default")) == 2, message="the next span")
    first, second = sorted(named(receiver.of(trace), "process default"), key=lambda span: span.start_ns)
    assert second.links[1:] == [(trace, first.id)]


async def test_nothing_of_opentelemetry_is_loaded_while_tracing_is_off(environment: Environment) -> None:
    async with node(environment | {"HANDLERS": HANDLERS}) as one:
        job = await one.wait(await one.submit("otel-loaded"))
        assert job["result"] is False


async def test_a_collector_that_is_away_costs_nobody_anything(environment: Environment) -> None:
    settings = {"HANDLERS": HANDLERS, "TRACING_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    async with node(environment | settings) as one:
        assert (await one.wait(await one.submit("span")))["status"] == "completed"
        assert await one.stop() == 0


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]
)
async def test_a_node_does_not_start_with_what_it_cannot_do(environment: Environment, name: str, value: str) -> None:
    async with node(environment | {"TRACING_ENABLED": "true", name: value}, start=False) as one:
        one.spawn()
        assert await one.ended() == 2
        assert f"TRACING_ENABLED: {name}={value}" in one.log
