"""Sets tracing up for a node, or says in a sentence why it cannot be: nothing of OpenTelemetry is imported while it is
off.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hegemon.auth.masking import Masker
from hegemon.cluster.secret_texts import otel_secrets, secret_texts
from hegemon.cluster.settings import Settings

if TYPE_CHECKING:
    from hegemon.tracing.spans import Tracing


class TracingSettingsError(Exception):
    """TRACING_ENABLED is on and cannot be followed; the message says what to do."""


def tracing(settings: Settings) -> Tracing | None:
    """The spans of this node's API; None while tracing is off. TracingSettingsError."""
    if not settings.tracing.tracing_enabled:
        return None
    try:
        from hegemon.tracing.spans import Tracing, TracingError  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise TracingSettingsError(
            f"TRACING_ENABLED needs OpenTelemetry ({error.name} is missing): install the extra, hegemon[otel]"
        ) from error
    # What .env says of it: OpenTelemetry reads the environment alone, here and in the workers, which inherit it.
    for name, text in settings.otel.items():
        os.environ.setdefault(name, text)
    try:
        masker = Masker(secret_texts(settings) | otel_secrets(settings.otel))
        return Tracing(instance=settings.cluster.node_id, clean=masker.text)
    except (TracingError, ValueError) as error:
        raise TracingSettingsError(f"TRACING_ENABLED: {error}") from error
