"""Sends a call upstream: reserve, send, judge, settle, and retry where that helps."""
