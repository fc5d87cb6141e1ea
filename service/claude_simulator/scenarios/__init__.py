"""Scenarios: what the limits are, what happens to them, and who asks for what."""
