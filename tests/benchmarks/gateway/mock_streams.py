"""A mock upstream for event streams; the query sets the number of events and their interval.

One timer serves all streams of an interval, so that a stream costs little CPU time.
"""

import argparse
import asyncio
import json
from typing import Any, Final
from urllib.parse import parse_qs

import uvloop

__all__ = ["MockStreams", "events"]

_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_TEXT: Final = "is one of about forty characters that"


def _event(kind: str, **fields: Any) -> bytes:
    text = f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(text), text)


_MESSAGE: Final = {
    "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": [],
    "usage": {"input_tokens": 500, "output_tokens": 1},
}  # fmt: skip
_START: Final = _event("message_start", message=_MESSAGE) + _event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)
_DELTA: Final = _event("content_block_delta", index=0, delta={"type": "text_delta", "text": _TEXT})


def events(deltas: int) -> list[bytes]:
    """A stream as a list of writes; the first has two events, the last three."""
    end = _event("content_block_stop", index=0)
    end += _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 10 * deltas})
    return [_START, *[_DELTA] * deltas, end + _event("message_stop") + b"0\r\n\r\n"]


class _Ticker:
    """Sends the next piece to each of its streams at an interval."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._streams: dict[MockStreams, list[bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: "MockStreams", pieces: list[bytes]) -> None:
        self._streams[connection] = pieces[::-1]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_seconds, self._tick)

    def remove(self, connection: "MockStreams") -> None:
        self._streams.pop(connection, None)

    def _tick(self) -> None:
        for connection, pieces in list(self._streams.items()):
            connection.write(pieces.pop())
            if not pieces:
                del self._streams[connection]
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every_seconds, self._tick) if self._streams else None


class MockStreams(asyncio.Protocol):
    """One connection. `?deltas=20&every=0.01` requests a stream of 20 text deltas, one every 10 ms; 0: all at once."""

    def __init__(self, tickers: dict[float, _Ticker]) -> None:
        self._tickers = tickers
        self._received = b""

    def write(self, piece: bytes) -> None:
        """Send the next piece of the stream."""
        self._socket.write(piece)

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._socket = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the event loop's signature
        """See `asyncio.Protocol`."""
        for ticker in self._tickers.values():
            ticker.remove(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(body) < length:
            return
        self._received = body[length:]
        query = parse_qs(head.split(b" ", 2)[1].partition(b"?")[2].decode())
        pieces = events(int(query["deltas"][0]))
        every_seconds = float(query.get("every", ["0"])[0])
        if every_seconds:
            self.write(_HEAD + pieces[0])
            self._tickers.setdefault(every_seconds, _Ticker(every_seconds)).add(self, pieces[1:])
        else:
            self.write(_HEAD + b"".join(pieces))


async def _serve(port: int) -> None:
    tickers: dict[float, _Ticker] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: MockStreams(tickers), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    _main()
