"""Who is calling: the one place that says so, and where authentication will stand."""

from __future__ import annotations

from typing import Final

from hegemon.api.call import Call

ANONYMOUS: Final = "anonymous"


def principal(call: Call) -> str:
    """The caller's scope: idempotency keys belong to it, and jobs are stored under it."""
    del call  # nothing in a request is looked at until there are credentials to look at
    return ANONYMOUS
