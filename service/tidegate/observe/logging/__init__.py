"""Logging: one line per call, and the records of all loggers in the same format."""
