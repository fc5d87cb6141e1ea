"""Stores of pool state: in memory, and over a restart in a file."""
