"""Matches requests to handlers."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.http.asgi import ReceivedRequest, Response, body_chunks
from claude_simulator.http.state import SimulatorState

if TYPE_CHECKING:
    from starlette.types import Receive, Send

MAX_FILE_BYTES: Final = 500 * 1024 * 1024
MAX_BATCH_BYTES: Final = 256 * 1024 * 1024
"""Source of both: Claude Platform Docs "Claude API errors"."""

MAX_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its means of response.

    Attributes:
        headers: request headers by lower-case name.
        query: query parameters; the last of several equal names counts.
        ids: the segments of the path at `{}` in the route.
        common: headers of every response.
        url: the base URL that the client used.
    """

    state: SimulatorState
    path: str
    headers: dict[str, str]
    query: Mapping[str, str]
    ids: tuple[str, ...]
    request_id: str
    common: dict[str, str]
    url: str
    receive: "Receive"
    send: "Send"

    async def read(self, *, most_bytes: int | None = None) -> ReceivedRequest:
        """Reads the whole body; raises as `body_chunks`."""
        body = b"".join([chunk async for chunk in self.chunks(most_bytes or self.state.options.max_body_bytes)])
        return ReceivedRequest(self.headers, body, self.request_id)

    def chunks(self, most_bytes: int) -> AsyncIterator[bytes]:
        """Iterates over the chunks of the body; raises as `body_chunks`."""
        return body_chunks(self.receive, self.headers, limit_bytes=most_bytes)

    def page_limit(self) -> int:
        """The query parameter `limit`.

        Raises:
            ApiError: 400, it is not a whole number from 1 to 1,000.
        """
        limit = self.query.get("limit", "20")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_PAGE):
            raise invalid_request(f"limit: {limit[:40]!r} was given; a whole number from 1 to {MAX_PAGE} is allowed")
        return int(limit)


Handler = Callable[[Exchange], Awaitable[Response | None]]
"""Handles an exchange. Returns None if it has sent the response itself, or the client has disconnected."""


class Routes:
    """Handlers by path and method. `{}` in a path matches one segment, an id."""

    def __init__(self, table: Mapping[str, Mapping[str, Handler]]) -> None:
        self._fixed = {path: handlers for path, handlers in table.items() if "{}" not in path}
        self._patterns = [
            (re.compile(re.escape(path).replace(r"\{\}", "([^/]+)")), handlers)
            for path, handlers in table.items()
            if "{}" in path
        ]

    def find(self, method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
        """Finds the handler, and the ids in the path.

        Raises:
            ApiError: 404 for an unknown path, 405 for a method that the path does not support.
        """
        handlers, ids = self._at(path)
        if method not in handlers:
            allowed = ", ".join(handlers)
            raise ApiError(405, "invalid_request_error", f"Method {method} is not allowed; {allowed} is")
        return handlers[method], ids

    def _at(self, path: str) -> tuple[Mapping[str, Handler], tuple[str, ...]]:
        if path in self._fixed:
            return self._fixed[path], ()
        for pattern, handlers in self._patterns:
            if match := pattern.fullmatch(path):
                return handlers, match.groups()
        raise ApiError(404, "not_found_error", f"Not found: {path}")
