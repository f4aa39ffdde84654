"""The spans of jobs, by OpenTelemetry. Imported only where TRACING_ENABLED is on: it needs the extra `hegemon[otel]`.

    submitter's span ──> submit (producer) ──┬──> wait     from when the job could run until a worker began it
                                             ├──> process  (consumer) one for each attempt, the handler runs inside it
                                             └──> process  … with a link to the attempt before it

Names and attributes follow the semantic conventions for messaging, as far as these know the thing; ours are
`hegemon.*`. What is not sampled costs no span: the word of whoever began the trace is carried in its context.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from hegemon.queue.jobs import NewJob
from hegemon.queue.provenance import Provenance
from hegemon.tracing.context import TraceContext
from hegemon.version import VERSION

SYSTEM: Final = "hegemon"
CLOSE_S: Final = 3.0
Attributes = dict[str, Any]


class TracingError(Exception):
    """Tracing is on and cannot be set up; the message says what to do."""


class Tracing:
    """The spans that one process makes. OTEL_* in the environment say where they go and how many there are."""

    def __init__(self, *, instance: str, shared: bool = False, clean: Callable[[str], str] = str) -> None:
        """`instance` names this process; `shared` makes it the tracer provider of user code here, too; `clean` is
        applied to the words of errors. TracingError."""
        self._clean = clean
        self._provider = TracerProvider(resource=_resource(instance), shutdown_on_exit=False)
        exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
        if exporter not in ("otlp", "none"):
            raise TracingError(f"OTEL_TRACES_EXPORTER={exporter}: only otlp and none are known here")
        if exporter == "otlp":
            self._provider.add_span_processor(BatchSpanProcessor(_exporter()))
        if shared:
            trace.set_tracer_provider(self._provider)
        self._tracer = self._provider.get_tracer("hegemon", VERSION)

    def submitting(self, jobs: Sequence[NewJob], provenance: Provenance) -> Submitting:
        """The span of a submission (`tracing.ports`)."""
        queues = {job.queue for job in jobs}
        queue = jobs[0].queue if len(queues) == 1 else "(several)"
        attributes: Attributes = _messaging("submit", "send", queue)
        if provenance.request_id is not None:
            attributes["hegemon.request.id"] = provenance.request_id
        if len(jobs) == 1:
            attributes["hegemon.job.type"] = jobs[0].type
            attributes["messaging.message.body.size"] = len(jobs[0].payload)
        else:
            attributes["messaging.batch.message_count"] = len(jobs)
        span = self._tracer.start_span(
            f"submit {queue}", _inside(provenance.trace), SpanKind.PRODUCER, attributes=attributes
        )
        return Submitting(span, provenance)

    def running(self, about: Attributes, queue: str, traced: TraceContext | None, *, waited_s: float) -> Running:
        """An attempt begins: `about` it, `traced` what its job carries, `waited_s` since it could have begun."""
        if traced is not None and traced.parent is not None and not traced.sampled:
            # Whoever began the trace does not want it. What the handler calls is to know that, too.
            return Running(None, _inside(traced), traced, self._clean)
        inside = _inside(traced)
        now_ns = time.time_ns()
        links = [] if traced is None else [_link(text) for text in (traced.parent, traced.ran) if text is not None]
        # Two processes read the cluster's clock: less than nothing is nothing.
        self._tracer.start_span(
            f"wait {queue}",
            inside,
            SpanKind.INTERNAL,
            attributes=_messaging("wait", None, queue) | about,
            start_time=now_ns - round(max(waited_s, 0.0) * 1e9),
        ).end(now_ns)
        span = self._tracer.start_span(
            f"process {queue}",
            inside,
            SpanKind.CONSUMER,
            attributes=_messaging("process", "process", queue) | about,
            links=links,
            start_time=now_ns,
        )
        return Running(span, trace.set_span_in_context(span, inside), traced, self._clean)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Send what is left, as far as the collector takes it in that time."""
        ending = threading.Thread(target=self._shut_down, name="tracing-end", daemon=True)
        ending.start()
        ending.join(within_s)

    def _shut_down(self) -> None:
        with contextlib.suppress(Exception):  # what people look at must not hold up an end
            self._provider.shutdown()


class Submitting:
    """See `tracing.ports.Submission`."""

    __slots__ = ("_span", "provenance")

    def __init__(self, span: Span, provenance: Provenance) -> None:
        self._span = span
        made = span.get_span_context()
        state = made.trace_state.to_header() or None
        self.provenance = Provenance(provenance.request_id, TraceContext(_traceparent(made), state))

    def __enter__(self) -> Self:
        return self

    def accepted(self, ids: Sequence[str]) -> None:
        """A single job is named; those of a batch name their trace."""
        if len(ids) == 1:
            self._span.set_attribute("messaging.message.id", ids[0])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if error is not None:
            self._span.set_attribute("error.type", getattr(error, "code", None) or type(error).__name__)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Running:
    """One attempt under way; without a span where it is not sampled."""

    __slots__ = ("_clean", "_inside", "_span", "_traced", "traceparent")

    def __init__(
        self,
        span: Span | None,
        inside: otel_context.Context,
        traced: TraceContext | None,
        clean: Callable[[str], str],
    ) -> None:
        recording = span is not None and span.is_recording()
        self._span = span if recording else None
        self._inside = inside
        self._traced = traced
        self._clean = clean
        # What the handler passes on, to whomever it calls.
        self.traceparent = (
            _traceparent(span.get_span_context()) if span is not None else None if traced is None else traced.parent
        )

    def enter(self) -> None:
        """In the task or thread of the handler, whose context ends with it."""
        otel_context.attach(self._inside)

    def ended(self, outcome: str, error: dict[str, Any] | None) -> str | None:
        """The attempt has ended so, with its error as it is stored. Its traceparent if it was recorded."""
        span = self._span
        if span is None:
            return None
        span.set_attribute("hegemon.job.outcome", outcome)
        if error is not None:
            span.set_attribute("error.type", str(error["type"]))
            words = {
                "exception.type": str(error["type"]),
                "exception.message": self._clean(str(error["message"])),
                "exception.stacktrace": self._clean(str(error.get("traceback", ""))),
            }
            span.add_event("exception", {name: text for name, text in words.items() if text})
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        return self.traceparent

    def next(self, before: str | None) -> TraceContext | None:
        """What the next attempt carries; `before` is what `ended` gave."""
        traced = self._traced
        if before is None:
            return traced
        return TraceContext(None if traced is None else traced.parent, None if traced is None else traced.state, before)


def _messaging(name: str, kind: str | None, queue: str) -> Attributes:
    attributes: Attributes = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.destination.name": queue,
    }
    return attributes if kind is None else attributes | {"messaging.operation.type": kind}


def _exporter() -> Any:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        raise TracingError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: only http/protobuf is known here")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - none is needed with `none`
        OTLPSpanExporter,
    )

    return OTLPSpanExporter()


def _resource(instance: str) -> Resource:
    own: dict[str, str] = {"service.instance.id": instance, "service.version": VERSION}
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    # What is passed here beats the environment, which is to have the last word about the name.
    return Resource.create(own if named else own | {"service.name": SYSTEM})


def _inside(traced: TraceContext | None) -> otel_context.Context:
    """The context of a span that is a child of this one; an empty one without it."""
    empty = otel_context.Context()
    if traced is None or traced.parent is None:
        return empty
    return trace.set_span_in_context(NonRecordingSpan(_span_context(traced.parent, traced.state)), empty)


def _link(traceparent: str) -> Link:
    return Link(_span_context(traceparent, None))


def _span_context(traceparent: str, state: str | None) -> SpanContext:
    return SpanContext(
        trace_id=int(traceparent[3:35], 16),
        span_id=int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(traceparent[53:55], 16)),
        trace_state=TraceState.from_header([state]) if state else None,
    )


def _traceparent(made: SpanContext) -> str:
    return f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"
