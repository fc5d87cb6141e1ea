"""Generates the reference of all settings: the example file and the README's table."""
