"""The byte-faithful relay for `/v1/…`, in the order of a call: receive, attempt, relay.

README.md has a map of one call.
"""
