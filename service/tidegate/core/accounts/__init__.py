"""Callers' own limits, across all pools.

A pool reserves them in the same step as its quota.
"""
