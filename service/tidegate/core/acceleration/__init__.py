"""The limit on growth: how fast use may rise, learned from 429s with the code `ramp_limit_exceeded`.

`AccelerationLimit` is the entry. The other modules are its parts.
"""
