"""Message Batches: reads the usage in their results, and makes their result URLs lead here."""
