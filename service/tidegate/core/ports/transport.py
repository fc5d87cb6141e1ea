"""The protocol of the HTTP client that sends requests to the upstream."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Protocol, overload

from msgspec import Struct

__all__ = ["EncodedHeaders", "Fields", "Headers", "Transport", "TransportRequest", "TransportResponse"]

Headers = Sequence[tuple[bytes, bytes]]
"""Header fields in order, with repeated names. Names are in lower case."""
Fields = Mapping[bytes, bytes]
"""Header fields by name in lower case. A repeated name has its last value."""


class EncodedHeaders(Sequence[tuple[bytes, bytes]]):
    """Header fields as one text, which takes a sixth of the memory. For requests that wait.

    Attributes:
        text: a line per field, without a line end after the last.
    """

    __slots__ = ("text",)

    def __init__(self, headers: Headers) -> None:
        self.text = b"\r\n".join(map(b": ".join, headers))

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())

    @overload
    def __getitem__(self, index: int) -> tuple[bytes, bytes]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[bytes, bytes]]: ...

    def __getitem__(self, index: int | slice) -> tuple[bytes, bytes] | list[tuple[bytes, bytes]]:
        return self._fields()[index]

    def _fields(self) -> list[tuple[bytes, bytes]]:
        split = (line.partition(b": ") for line in self.text.split(b"\r\n") if line)
        return [(name, value) for name, _, value in split]


class TransportRequest(Struct, frozen=True):
    """A request to the upstream, ready to send.

    Attributes:
        method: upper-case HTTP method.
        target: path and query, as on the request line.
        headers: all except `host`, `content-length`, `transfer-encoding` and `connection`, which the transport sets.
        body: complete, or in chunks. A body in chunks can be sent only once.
        content_length: the length of a body in chunks, if it is known.
        replayable: whether sending it twice does no harm. Its body is complete.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    content_length: int | None = None
    replayable: bool = False


class TransportResponse(Protocol):
    """A response whose head has arrived. It must be closed on every path."""

    status: int
    headers: Headers
    fields: Fields
    """The same as `headers`."""
    waited_ns: int
    """Time spent waiting for the upstream so far: for a connection, for the head, and for the body."""

    @property
    def at_end(self) -> bool:
        """Whether nothing is left to read, as far as is known."""
        ...

    def whole(self) -> bytes | None:
        """The body, if all of it has arrived and none was read. This ends the exchange. None, without effect, else.

        It is returned once.
        """
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the body as they arrive, without transfer encoding.

        Raises:
            UpstreamUnreachable: the connection broke before the end of the body.
        """
        ...

    async def aclose(self) -> None:
        """Ends the exchange. A body that was not read to its end closes the connection. Idempotent."""
        ...


class Transport(Protocol):
    """Sends requests to one upstream. Resends only a request that a kept-alive connection lost to an idle timeout."""

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> TransportResponse:
        """Sends a request and waits for the head of the response.

        `on_begin` is called when a connection is there. Until then nothing has been sent.

        Raises:
            UpstreamUnreachable: no head came. `may_have_been_accepted` says whether the whole request had been sent.
        """
        ...

    async def aclose(self) -> None:
        """Closes idle connections and refuses further requests."""
        ...
