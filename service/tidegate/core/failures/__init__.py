"""Reactions to upstream failures: circuit breaker, probing, concurrency limit, retry budget and spend-cap circuit.

None of them depends on quota. While the upstream is healthy, none of them limits anything.
"""
