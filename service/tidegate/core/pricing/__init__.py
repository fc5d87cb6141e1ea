"""The expected cost of a call, in tokens, before it is sent. It is learned from the usage that responses report.

`CostEstimator` is the entry. The other modules are its parts.
"""
