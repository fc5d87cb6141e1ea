"""OpenTelemetry traces: spans of calls, sampling and export."""
