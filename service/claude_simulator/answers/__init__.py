"""What the simulated model answers."""
