"""Spans of calls, and their export."""
