"""Parses the requests of one connection, within the limits of their heads."""

from itertools import chain
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

import httptools

from tidegate.http.framing import excess_framing_bytes
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.server.exchange import Exchange

__all__ = ["Refusal", "RequestHandler", "RequestParser", "RequestRefused"]

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_HEAD_FRAMING_BYTES: Final = 4
"""Colon, space and line end of a header field."""


_ERROR_TYPE: Final = "invalid_request_error"


class Refusal(NamedTuple):
    """The refusal of a request by the server. `error_type` is passed to `ErrorResponse`."""

    status: int
    error_type: str
    message: str


_INVALID: Final = Refusal(400, _ERROR_TYPE, "Invalid HTTP request received.")
_INVALID_URL: Final = Refusal(
    400,
    _ERROR_TYPE,
    "the URL has a character that is not allowed: percent-encode all but visible ASCII",
)


class RequestRefused(Exception):
    """A request is invalid or exceeds a limit; its cause is the parser's error, if there was one."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class RequestHandler(Protocol):
    """Takes the requests that a parser finds."""

    def accepts_request(self) -> bool:
        """Whether another request may begin. If not, parsing fails, and no more bytes may be fed."""
        ...

    def begin_request(self, scope: dict[str, Any], fields: dict[bytes, bytes], *, keep_alive: bool) -> Exchange:
        """A head is complete; returns the exchange that takes the body.

        Args:
            scope: the part of the ASGI scope that depends on the request alone.
            fields: header fields by name.
            keep_alive: whether the connection may be used for another request, as far as the client says.
        """
        ...


class RequestParser:
    """Parses requests and feeds their bodies to exchanges.

    A request that asks for another protocol (`Upgrade`) is parsed again without that field: no other protocol is
    supported, and the request is valid without it (RFC 9110 section 7.8).

    Args:
        limits: the limits of heads, trailers and chunk extensions.
        handler: takes the requests.

    Attributes:
        in_head: whether a head has begun and is not complete.
        exchange: the exchange that takes the body under way; None between requests.
    """

    def __init__(self, limits: ConnectionLimits, handler: RequestHandler) -> None:
        self.in_head = False
        self.exchange: Exchange | None = None
        self._limits = limits
        self._handler = handler
        self._parser = self._new_parser()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._framing_bytes = 0  # of a head, or of a body's chunk extensions and trailers
        self._upgrades = False
        self._refusal = _INVALID  # if the parser fails

    def feed(self, data: bytes) -> None:
        """Parses the next bytes of the connection.

        Raises:
            RequestRefused: they are not HTTP/1.1, or exceed a limit.
        """
        self._framing_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserInvalidURLError as error:
            raise RequestRefused(_INVALID_URL) from error
        except httptools.HttpParserError as error:
            raise RequestRefused(self._refusal) from error
        if self._framing_bytes > self._limits.head_bytes:
            self._check_framing()

    def close(self) -> None:
        """Breaks the reference cycles with the parser and the handler, so that the garbage collector need not."""
        self._parser = self.exchange = None
        del self._handler

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # Bytes after a request that ends the connection do not make that request invalid.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._upgrades:
                    return  # after CONNECT, the bytes are not HTTP
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self._parser = self._new_parser()
                self._upgrades = False
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        headers, self._headers = self._headers, []
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, version)]
        lines += [b"%b: %b" % field for field in headers if field[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        """A request begins."""
        self.in_head = True
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field. Trailer fields are dropped."""
        if self.in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The end of a head. An exception raised here makes `feed_data` fail."""
        parser = self._parser
        changes_protocol = parser.should_upgrade()
        if changes_protocol and parser.get_method() != b"CONNECT":
            self._upgrades = True  # the parser will stop after the head: see `_parse`
            return
        if not self._handler.accepts_request():
            raise ValueError("too many requests at once")
        version = parser.get_http_version()
        headers = self._headers
        fields = dict(headers)
        is_usual = version == "1.1" and b"host" in fields and len(fields) == len(headers) <= self._limits.head_fields
        is_short = self._framing_bytes <= self._limits.head_bytes
        if not (is_usual and is_short) and (refusal := self._unacceptable(version)) is not None:
            self._refusal = refusal
            raise ValueError(refusal.message)
        self._headers = []
        self.in_head = False
        self._framing_bytes = 0
        raw_path, query = _split(self._url)
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "headers": headers,
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
        }
        keep_alive = version == "1.1" and parser.should_keep_alive() and not changes_protocol
        self.exchange = self._handler.begin_request(scope, fields, keep_alive=keep_alive)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self.exchange is not None:
            if self._framing_bytes:
                self._framing_bytes = excess_framing_bytes(self._framing_bytes, len(body))
            self.exchange.feed_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        if self.exchange is not None:
            self.exchange.end_body()
            self.exchange = None
            self._framing_bytes = 0

    # Limits.

    def _unacceptable(self, version: str) -> Refusal | None:
        """The fault of a well-formed head that is refused; None if it is accepted."""
        limits, headers = self._limits, self._headers
        if self._framing_bytes > limits.head_bytes and self._head_size() > limits.head_bytes:
            return self._too_large()
        if len(headers) > limits.head_fields:
            return Refusal(431, _ERROR_TYPE, f"the head has more than {limits.head_fields} fields")
        if version not in _VERSIONS:
            return Refusal(505, _ERROR_TYPE, f"HTTP/{version} is not supported; use HTTP/1.1")
        hosts = [name for name, _ in headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1"):  # RFC 9112 section 3.2
            return Refusal(400, _ERROR_TYPE, f"the head has {len(hosts)} Host fields; exactly one is allowed")
        return None

    def _check_framing(self) -> None:
        """Checks what has come so far of a head, or of a body's trailers and chunk extensions."""
        if self.in_head:
            raise RequestRefused(self._too_large())
        if self.exchange is not None:
            message = f"more than {self._limits.head_bytes} bytes of trailers or chunk extensions"
            raise RequestRefused(Refusal(400, _ERROR_TYPE, message))

    def _head_size(self) -> int:
        framing_bytes = _HEAD_FRAMING_BYTES * len(self._headers)
        return len(self._url) + sum(map(len, chain.from_iterable(self._headers))) + framing_bytes

    def _too_large(self) -> Refusal:
        return Refusal(431, _ERROR_TYPE, f"the head is above {self._limits.head_bytes} bytes")


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path, parsed.query or b""
