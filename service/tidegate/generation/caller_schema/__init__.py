"""Validates documents against JSON Schemas of callers, whose work is bounded before anything is validated."""
