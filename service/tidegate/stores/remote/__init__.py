"""One store for several processes: a leader holds the pools, and followers send it their steps.

`follower.py` is the store of a process that follows, and `leader.py` serves it over the store of another process.
"""
