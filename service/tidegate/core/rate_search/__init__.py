"""Searches for a limit that the upstream does not report."""
