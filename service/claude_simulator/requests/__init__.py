"""Validates Messages requests, and measures the size of their prompts. Knows the models."""
