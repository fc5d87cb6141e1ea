"""Commands that record the log of the shared store, and replay it under other settings."""
