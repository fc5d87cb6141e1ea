"""Messages over a real socket: whole, in order, until one side ends."""

import asyncio
import socket

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.ports.store import Change
from tidegate.stores.remote.messages import Ask, Message, Results, Steps
from tidegate.stores.remote.socket_channel import SocketChannel
from tidegate.stores.steps import Answer, Batch, Reserve


class Side:
    """One side, with what it has received."""

    def __init__(self) -> None:
        self.channel = SocketChannel()
        self.received: list[Message] = []
        self.lost = asyncio.Event()
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        self.channel.listen(self._arrived.put_nowait, self.lost.set)

    async def next_arrived(self, count: int) -> None:
        self.received += [await self._arrived.get() for _ in range(count)]

    async def use(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        await asyncio.get_running_loop().create_unix_connection(lambda: self.channel, sock=connection)


async def sides() -> tuple[Side, Side, socket.socket]:
    """Two connected sides, and the socket of the second."""
    first, second = socket.socketpair(socket.AF_UNIX)
    one, other = Side(), Side()
    await one.use(first)
    await other.use(second)
    return one, other, second


def test_messages_arrive_whole_and_in_order() -> None:
    reserve = Reserve("a-1", Demand("p", DEFAULT_CALLER, ONE_REQUEST, session="x" * 100_000))
    steps = [Steps(Batch("a", number, (reserve,))) for number in range(1, 20)]
    refused = Refused(Cause.DEADLINE, 5)
    results = Results("a", 1, 2, (Answer(1, Wait(7, "queue")),), (Change("p", ("a-1",), refused=(("a-2", refused),)),))

    async def main() -> None:
        one, other, _ = await sides()
        for each in steps:
            one.channel.send(each)
        other.channel.send(results)
        await one.next_arrived(1)
        await other.next_arrived(len(steps))
        one.channel.close()
        await other.lost.wait()
        assert other.received == steps
        assert one.received == [results]
        other.channel.send(results)  # nobody is there any more
        other.channel.close()

    asyncio.run(main())


def test_an_unreadable_message_ends_the_connection() -> None:
    async def main() -> None:
        one, other, _ = await sides()
        one.channel.send(Ask("a", "p", "a-1"))
        assert one.channel._transport is not None
        one.channel._transport.write(b"\x00\x00\x00\x01\xff")
        await one.lost.wait()
        await other.lost.wait()
        await other.next_arrived(1)
        assert other.received == [Ask("a", "p", "a-1")]

    asyncio.run(main())
