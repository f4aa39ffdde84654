"""What a log line is about, for whoever writes it meanwhile: the job that runs, the request that is answered, the
office that is held. One context variable each, since a job may take less time than binding its fields one by one.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

# (id, attempt, request id) of the job whose handler runs here.
RUN: Final[ContextVar[tuple[str, int, str | None] | None]] = ContextVar("hegemon_run", default=None)
# The id of the request that is being answered.
REQUEST: Final[ContextVar[str | None]] = ContextVar("hegemon_request", default=None)
# (epoch, term) under which this node leads, in the tasks that do a leader's duties.
OFFICE: Final[ContextVar[tuple[int, int] | None]] = ContextVar("hegemon_office", default=None)


def bound() -> dict[str, Any]:
    """The fields that a line written here and now has: job, attempt, request_id, epoch, term, as far as they apply."""
    fields: dict[str, Any] = {}
    if (run := RUN.get()) is not None:
        fields["job"], fields["attempt"], request = run
        if request is not None:
            fields["request_id"] = request
    elif (request := REQUEST.get()) is not None:
        fields["request_id"] = request
    if (office := OFFICE.get()) is not None:
        fields["epoch"], fields["term"] = office
    return fields


def log_fields(logger: Any, method: str, line: Any) -> Any:
    """A structlog processor for a configuration of your own in a worker: adds `bound()`; what the line says itself
    stands."""
    del logger, method
    for name, value in bound().items():
        line.setdefault(name, value)
    return line
