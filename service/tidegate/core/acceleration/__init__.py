"""Limits on how fast usage may grow."""
