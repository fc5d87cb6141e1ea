"""Restarts the service again and again under open streams and steady calls, and counts what its clients notice."""
