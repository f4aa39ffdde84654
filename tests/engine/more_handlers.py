"""Handlers that these tests need beside `tests.handlers`."""

from __future__ import annotations

import time

from hegemon import Context, job
from tests.engine.curious_handlers import curious, curious_echo
from tests.handlers import is_open, journal

__all__ = ["curious", "curious_echo", "patient_thread"]


@job("patient-thread")
def patient_thread(ctx: Context, gate: str) -> None:
    """A thread that looks whether it should stop, as a good one does."""
    journal("start", ctx)
    while not is_open(gate):
        if ctx.cancelled:
            raise InterruptedError("asked to stop")
        time.sleep(0.01)
    journal("end", ctx)
