"""Reads a client's request: its route, its body, and what it will probably cost."""
