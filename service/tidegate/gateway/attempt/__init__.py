"""Sends a call upstream: reserve, send, judge, settle, and again where that helps."""
