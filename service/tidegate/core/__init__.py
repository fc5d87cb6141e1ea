"""The decisions of the limiter, as pure state machines.

Nothing here does I/O, reads a clock, draws a random number or logs. Time (integer nanoseconds of a monotonic clock) and
random numbers are arguments. All other packages may import this one. It imports none of them.
"""
