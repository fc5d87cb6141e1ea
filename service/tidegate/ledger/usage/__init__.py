"""Usage and spending of callers: recorded in memory, written to the database, reported, and deleted when old."""
