"""Log lines: one for each call, and those of the process."""
