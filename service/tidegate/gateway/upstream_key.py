"""The service's own key for the upstream, which may be replaced while calls wait."""

from typing import Final

from tidegate.core.claude.header_names import API_KEY
from tidegate.core.ports.transport import EncodedHeaders, TransportRequest
from tidegate.gateway.forwarded_headers import with_headers

__all__ = ["UpstreamKey"]

_NAME: Final = API_KEY.encode()


class UpstreamKey:
    """The key that is sent in place of the client's.

    Attributes:
        value: the key in effect.
    """

    __slots__ = ("_was_replaced", "value")

    def __init__(self, key: str) -> None:
        self.value = key.encode()
        self._was_replaced = False

    def replace(self, key: str) -> None:
        """Sets another key, also for the next attempts of calls that have arrived already."""
        self._was_replaced = self._was_replaced or key.encode() != self.value
        self.value = key.encode()

    def in_request(self, request: TransportRequest) -> TransportRequest:
        """The request with the key in effect: it may have been prepared with an earlier one."""
        if not self._was_replaced or _line(self.value) in _lines(request):
            return request
        return with_headers(request, {API_KEY: self.value.decode("latin-1")})


def _line(key: bytes) -> bytes:
    return b"\r\n%b: %b\r\n" % (_NAME, key)


def _lines(request: TransportRequest) -> bytes:
    headers = request.headers if isinstance(request.headers, EncodedHeaders) else EncodedHeaders(request.headers)
    return b"\r\n%b\r\n" % headers.text
