"""Pure decisions: buckets, pools, queue, retry policy, headers, causes, errors, events, protocols between parts.

Nothing here does I/O, reads a clock, draws a random number or logs: time (integer nanoseconds of a monotonic clock) and
random numbers are arguments. Everything above may import this package; it imports nothing of ours.
"""
