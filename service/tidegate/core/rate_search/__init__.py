"""The search for a limit that the upstream does not report: its rate follows from 429s alone.

`RateSearch` is the entry. The other modules are its parts.
"""
