"""Estimates what a call will cost, in tokens, before it is sent."""
