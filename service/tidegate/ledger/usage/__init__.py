"""What callers used and spent: recorded in memory, written to the database, reported, and deleted when it is old."""
