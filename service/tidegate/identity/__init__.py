"""Identifies callers by their keys, and decides what they may do. All routes share these rules."""
