"""The types that all parts share: costs, callers, causes, errors, events, demands, feedback, settings and snapshots.

They are values: they decide nothing.
"""
