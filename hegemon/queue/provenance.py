"""Where a job comes from: what its log lines and its trace are found by."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hegemon.tracing.context import TraceContext

Document = dict[str, Any]


class Provenance(msgspec.Struct, frozen=True):
    """The id of the request that submitted it, and the trace that this was part of; None where there is none."""

    request_id: str | None = None
    trace: TraceContext | None = None

    def stored(self) -> Document:
        """The fields of a job's document."""
        fields: Document = {}
        if self.request_id is not None:
            fields["request_id"] = self.request_id
        if self.trace is not None:
            fields["trace"] = {"parent": self.trace.parent}
            if self.trace.state is not None:
                fields["trace"]["state"] = self.trace.state
        return fields


UNKNOWN: Final = Provenance()


def trace_of(document: Any) -> TraceContext | None:
    """The trace of a document's next attempt: that of its submission, and the span of the last attempt that ended."""
    trace = document.get("trace")
    history = document.get("history")
    ran = next((item["span"] for item in reversed(history) if "span" in item), None) if history else None
    if trace:
        return TraceContext(trace["parent"], trace.get("state"), ran)
    # Nobody traced the submission: what its attempts say of each other is all there is.
    return None if ran is None else TraceContext(ran=ran)
