"""Composes the answers of the simulated model, and formats them as JSON and events. Holds prompt cache and batches."""
