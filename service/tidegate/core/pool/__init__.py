"""A pool: the state machine that admits requests, built from limits, failures and the queue.

`Pool` is the entry. One method call is one atomic step.
"""
