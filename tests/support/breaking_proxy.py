"""A relay to the simulator that damages responses: the upstream has done its work, but its response arrives broken."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from support.faulty_upstream import Fault
from support.raw_upstream import Exchange

Break = Callable[[Exchange, bytes], Awaitable[None]]
"""Sends a response, given as the bytes of head and body, or breaks it."""


async def arrives(exchange: Exchange, answer: bytes) -> None:
    await exchange.say(answer)


def cut_at(part: Callable[[bytes], int], *, reset: bool = False, stalls: bool = False) -> Break:
    """The response up to a byte; then the connection is closed or reset, or stays silent."""

    async def break_(exchange: Exchange, answer: bytes) -> None:
        await exchange.say(answer[: part(answer)])
        if stalls:
            await exchange.reader.read()
        if reset:
            await asyncio.sleep(0.05)  # a reset discards bytes that have not arrived
            exchange.reset()

    return break_


def replaced(old: bytes, new: bytes) -> Break:
    """The response with a part replaced."""

    async def break_(exchange: Exchange, answer: bytes) -> None:
        assert old in answer
        await exchange.say(answer.replace(old, new, 1))

    return break_


def no_byte(_answer: bytes) -> int:
    return 0


def half_the_head(answer: bytes) -> int:
    return answer.index(b"\r\n\r\n") // 2


def the_head(answer: bytes) -> int:
    return answer.index(b"\r\n\r\n") + 4


def half_the_body(answer: bytes) -> int:
    return (the_head(answer) + len(answer)) // 2


def breaking_proxy(url: str, breaks: Break = arrives) -> Fault:
    """Forwards each request, waits for its whole response, and forwards that as `breaks` says."""
    address = urlsplit(url)

    async def serve(exchange: Exchange) -> None:
        head, body = await exchange.request()
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(head.replace(b"\r\n", b"\r\nconnection: close\r\n", 1) + body)
            answer = await reader.read()
        finally:
            writer.close()
        await breaks(exchange, answer)

    return serve
