"""The leases of granted requests, and how much output their answers will still charge.

`OpenLeases` holds them, and `OutputAhead` is the prediction.
"""
