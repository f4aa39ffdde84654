"""Traces: the W3C context that a job carries, and the spans that OpenTelemetry makes of it where that is on."""
