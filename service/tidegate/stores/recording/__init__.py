"""A recording of a shared log, and its replay under other settings.

The log is all that decides what replicas may do. So a copy of it, with the checkpoint before it, can be folded again.
"""
