"""A TCP relay that records the traffic, for clients that do not expose it."""

import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from support.conformance import Answered

_PATIENCE_SECONDS = 60


@dataclass
class RecordingRelay:
    """The URL of the relay, and the bytes in both directions by connection, in order."""

    url: str
    sent: list[bytearray] = field(default_factory=list)
    received: list[bytearray] = field(default_factory=list)

    def exchanges(self) -> list[tuple[str, Answered]]:
        """Request lines and responses, for connections with complete exchanges."""
        return [
            exchange
            for sent, received in zip(self.sent, self.received, strict=True)
            for exchange in zip(_request_lines(bytes(sent)), _answers(bytes(received)), strict=True)
        ]


class _Bytes:
    """The part of the socket interface that `http.client` reads from."""

    def __init__(self, data: io.BytesIO) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return _Kept(self._data)


class _Kept(io.BytesIO):
    """Continues after the last response, and ignores `close`."""

    def __init__(self, data: io.BytesIO) -> None:
        super().__init__()
        self._data = data

    def read(self, size: int | None = -1, /) -> bytes:
        return self._data.read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._data.readline(size)


def _answers(received: bytes) -> Iterator[Answered]:
    data = io.BytesIO(received)
    while data.tell() < len(received):
        response = http.client.HTTPResponse(_Bytes(data))  # type: ignore[arg-type]  # it only calls makefile
        response.begin()
        body = response.read()
        yield Answered(response.status, [(name.lower(), value) for name, value in response.getheaders()], body)


def _request_lines(sent: bytes) -> Iterator[str]:
    data = io.BytesIO(sent)
    while line := data.readline():
        fields = http.client.parse_headers(data)
        data.read(int(fields.get("content-length") or 0))
        yield line.decode().strip()


@contextlib.contextmanager
def recording_relay(url: str) -> Iterator[RecordingRelay]:
    """Run a relay to a server. After the block, all traffic has been recorded."""
    target = urlsplit(url)
    assert target.hostname is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = RecordingRelay(f"http://127.0.0.1:{listener.getsockname()[1]}")
        accepting = threading.Thread(target=_accept, args=(listener, (target.hostname, target.port), wire))
        accepting.start()
        try:
            yield wire
        finally:
            # `close` would not wake the thread that waits for a connection.
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, target: tuple[str, int | None], wire: RecordingRelay) -> None:
    pumps: list[threading.Thread] = []
    with contextlib.ExitStack() as sockets:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                break
            far = sockets.enter_context(socket.create_connection(target))
            sockets.enter_context(near)
            sent, received = bytearray(), bytearray()
            wire.sent.append(sent)
            wire.received.append(received)
            pumps += [
                threading.Thread(target=_pump, args=(near, far, sent)),
                threading.Thread(target=_pump, args=(far, near, received)),
            ]
            for pump in pumps[-2:]:
                pump.start()
        for pump in pumps:
            pump.join()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    source.settimeout(_PATIENCE_SECONDS)
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            kept += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
