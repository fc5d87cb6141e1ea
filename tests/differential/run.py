"""Sends streams to all implementations, and counts the differences."""

from collections import Counter

from differential.clients import Clients
from differential.differences import as_stock_takes_it, client_difference, difference
from differential.servers import Servers
from differential.streams import Stream

STOCK = ("httptools", "h11")


class Comparison:
    """Compares in the running event loop.

    Attributes:
        counts: Number of listed differences, by implementation.
    """

    def __init__(self) -> None:
        self._servers = Servers()
        self._clients = Clients()
        self.counts: Counter[tuple[str, str]] = Counter()

    async def serve(self, stream: Stream) -> None:
        """Compare the servers; raises `Unexplained`."""
        ours = await self._servers.serve("tidegate", stream)
        for name in STOCK:
            theirs = await self._servers.serve(name, as_stock_takes_it(stream))
            self.counts[name, difference(ours, theirs, name)] += 1
        assert not self._servers.failures, self._servers.failures

    async def read(self, stream: Stream) -> None:
        """Compare the clients; raises `Unexplained`."""
        ours, theirs = await self._clients.ours(stream), await self._clients.aiohttp(stream)
        self.counts["aiohttp", client_difference(ours, theirs)] += 1
