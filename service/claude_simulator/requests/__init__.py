"""Reads and validates Messages requests."""
