"""The quota of a pool in one dimension: how much may be spent now, and what the upstream's reports teach about it.

`DimensionLimit` is the entry. It combines the configured limit with the upstream's; the other modules are its parts.
"""
