"""Message Batches: reads the usage in their results, and rewrites their result URLs."""
