"""A pool: the state machine that admits requests, built from quota, leases, failures and the queue.

`Pool` is the entry. One method call is one atomic step.
"""
