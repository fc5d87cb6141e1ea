"""The protocol between what relays and what speaks HTTP to the upstream."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Protocol, overload

from msgspec import Struct

__all__ = ["EncodedHeaders", "Fields", "Headers", "Transport", "TransportRequest", "TransportResponse"]

Headers = Sequence[tuple[bytes, bytes]]
"""Header fields in order, repeated names kept; names in lower case."""
Fields = Mapping[bytes, bytes]
"""Header fields by their names in lower case; of a repeated name the last value."""


class EncodedHeaders(Sequence[tuple[bytes, bytes]]):
    """Header fields as one text, which takes a sixth of the memory: for requests that wait.

    Attributes:
        text: a line for each, without the end of the last one.
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
        headers: all but `host`, `content-length`, `transfer-encoding` and `connection`, which the transport sets.
        body: whole, or in chunks; a body in chunks can be sent once only.
        content_length: the length of a body in chunks, where it is known.
        replayable: whether sending it twice does no harm. The body is whole then.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    content_length: int | None = None
    replayable: bool = False


class TransportResponse(Protocol):
    """An answer whose head has arrived. Must be closed, on every path."""

    status: int
    headers: Headers
    fields: Fields
    """The same as `headers`."""
    waited_ns: int
    """Time spent waiting for the upstream so far: for a connection, for the head, and for the body."""

    @property
    def at_end(self) -> bool:
        """Whether it is known that nothing is left to read."""
        ...

    def whole(self) -> bytes | None:
        """The body, if all of it has come and nothing was read: the exchange is over then. None, without effect, else.

        It is handed out once.
        """
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come, without transfer encoding.

        Raises:
            UpstreamUnreachable: the connection broke before the end of the body.
        """
        ...

    async def aclose(self) -> None:
        """Ends the exchange: a body that was not read to its end closes the connection. Idempotent."""
        ...


class Transport(Protocol):
    """Sends requests to one upstream. It resends only what a kept-alive connection lost to an idle timeout."""

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> TransportResponse:
        """Sends a request and waits for the head of the answer.

        Until `on_begin` is called nothing has been sent: there is no connection for it yet.

        Raises:
            UpstreamUnreachable: no head came; `may_have_been_accepted` says whether the request had been sent whole.
        """
        ...

    async def aclose(self) -> None:
        """Closes idle connections and refuses further requests."""
        ...
