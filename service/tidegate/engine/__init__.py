"""The asyncio driver of the core: admission, leases, waiting tasks, retries and feedback.

It keeps no state of pools: that is in the store.
"""
