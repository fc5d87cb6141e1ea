"""A pool: the state machine that admits requests, built from limits, failures and the queue."""
