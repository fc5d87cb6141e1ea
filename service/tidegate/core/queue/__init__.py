"""The order of admission: fair queueing, priority classes, caps on what waits, and the work ahead of a demand.

`FairQueue` is the entry. The other modules are its parts.
"""
