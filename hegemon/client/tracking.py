"""What a request is found by afterwards: an id of its own, and the trace that it is part of, if the caller has one."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable

RequestId = Callable[[], str]


def new_id() -> str:
    """64 random bits."""
    return secrets.token_hex(8)


def headers(request_id: RequestId) -> dict[str, str]:
    """Headers of one exchange, the same for all its tries. The trace is that of the caller's OpenTelemetry, which is
    not loaded for it: a program that has not loaded it has no trace."""
    found = {"x-request-id": request_id()}
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import propagate  # noqa: PLC0415 - see above

        propagate.inject(found)
    return found
