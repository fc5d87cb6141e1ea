"""The protocols between the core and the edge: clock, store, observer and transport.

The composition root passes the implementations.
"""
