"""The asyncio driver of the core: admission, leases, attempts."""
