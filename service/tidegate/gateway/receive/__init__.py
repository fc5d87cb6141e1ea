"""Receives a client's request: its route, its caller, its body, and its probable size."""
