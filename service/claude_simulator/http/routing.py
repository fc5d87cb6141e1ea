"""Which routes there are, and what a route is given of a request."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.http.asgi import Call, Reply, body_chunks
from claude_simulator.world import World

if TYPE_CHECKING:
    from starlette.types import Receive, Send

MAX_FILE_BYTES: Final = 500 * 1024 * 1024
MAX_BATCH_BYTES: Final = 256 * 1024 * 1024
"""Source of both: Claude Platform Docs "Claude API errors"."""

MAX_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Visit:
    """One request.

    Attributes:
        headers: the request's, by lower-case name.
        query: the query's parameters; of a repeated one the last value.
        ids: what stands in the path where the route has `{}`.
        common: the headers of every answer.
        url: the base URL that the client used.
    """

    world: World
    path: str
    headers: dict[str, str]
    query: Mapping[str, str]
    ids: tuple[str, ...]
    request_id: str
    common: dict[str, str]
    url: str
    receive: "Receive"
    send: "Send"

    async def call(self, *, most_bytes: int | None = None) -> Call:
        """The request with its whole body; raises as `body_chunks`."""
        body = b"".join([chunk async for chunk in self.chunks(most_bytes or self.world.options.max_body_bytes)])
        return Call(self.headers, body, self.request_id)

    def chunks(self, most_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes; raises as `body_chunks`."""
        return body_chunks(self.receive, self.headers, limit_bytes=most_bytes)

    def page_limit(self) -> int:
        """The parameter `limit` of a list.

        Raises:
            ApiError: 400, it is no whole number from 1 to 1,000.
        """
        limit = self.query.get("limit", "20")
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_PAGE):
            raise invalid_request(f"limit: {limit[:40]!r} was given; a whole number from 1 to {MAX_PAGE} is allowed")
        return int(limit)


Handler = Callable[[Visit], Awaitable[Reply | None]]
"""Answers a visit; None when it has sent its answer itself, or the client has left."""


class Routes:
    """Handlers by path and method. A path may contain `{}` for one segment that is an id."""

    def __init__(self, table: Mapping[str, Mapping[str, Handler]]) -> None:
        self._fixed = {path: handlers for path, handlers in table.items() if "{}" not in path}
        self._patterns = [
            (re.compile(re.escape(path).replace(r"\{\}", "([^/]+)")), handlers)
            for path, handlers in table.items()
            if "{}" in path
        ]

    def find(self, method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
        """The handler, and the ids in the path.

        Raises:
            ApiError: 404 for a path that there is not, 405 for a method that it does not take.
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
