"""What one process tells of a job's way, whatever another one's reading of the cluster's clock was."""

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hegemon.tracing.spans import Tracing


@pytest.mark.parametrize(("waited_s", "told_ns"), [(1.5, 1_500_000_000), (0.0, 0), (-0.004, 0)])
def test_an_attempt_has_a_wait_span_also_where_it_began_before_its_time(
    waited_s: float, told_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    kept = InMemorySpanExporter()
    tracing = Tracing(instance="n1")
    tracing._provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing.running({}, "mail", None, waited_s=waited_s)
    [wait] = kept.get_finished_spans()
    assert wait.name == "wait mail"
    assert wait.start_time is not None
    assert wait.end_time is not None
    assert wait.end_time - wait.start_time == told_ns
