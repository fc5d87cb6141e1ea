"""Turns the events and scopes of the core into metrics, traces and log lines. Nothing here affects a call."""
