"""Protocols between the core and the edge: clock, store, observer and transport."""
