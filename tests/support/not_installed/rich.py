"""Hides `rich` from services that tests start: structlog imports it if a development tool brought it."""

raise ImportError("an installation of the service has no rich")
