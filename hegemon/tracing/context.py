"""The trace context of the W3C, as it comes in headers and travels with a job. No I/O, no OpenTelemetry."""

from __future__ import annotations

import re
from typing import Final

import msgspec

STATE_MAX: Final = 512
# Version 00 is all there is; a later one begins with the same four fields. ff is forbidden, and so are ids of zeros.
_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")
_PARENT_LENGTH: Final = 55
_STATE: Final = re.compile(r"[ -~\t]{1,512}")


class TraceContext(msgspec.Struct, frozen=True, array_like=True):
    """`parent` is the traceparent of the span that submitted the job, None if nobody traced that; `state` the
    tracestate that came with it; `ran` the traceparent of the span of the last attempt that ended."""

    parent: str | None = None
    state: str | None = None
    ran: str | None = None

    @property
    def sampled(self) -> bool:
        """Whether whoever began this trace wants it recorded."""
        return self.parent is not None and bool(int(self.parent[53:55], 16) & 1)


def trace_context(traceparent: str | None, tracestate: str | None = None) -> TraceContext | None:
    """The context of these two headers; None without a valid traceparent, as the specification wants it. A tracestate
    that is too long or not text goes, and the rest stays."""
    if traceparent is None or not _valid(traceparent):
        return None
    state = tracestate if tracestate and _STATE.fullmatch(tracestate) else None
    return TraceContext(traceparent[:_PARENT_LENGTH], state)


def trace_id(traceparent: str | None) -> str | None:
    """The 32 hex digits of a valid traceparent; else None."""
    return traceparent[3:35] if traceparent is not None and _valid(traceparent) else None


def _valid(traceparent: str) -> bool:
    if len(traceparent) > _PARENT_LENGTH and traceparent.startswith("00"):
        return False
    return len(traceparent) <= STATE_MAX and _PARENT.fullmatch(traceparent) is not None
