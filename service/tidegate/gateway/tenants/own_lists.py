"""Lists: a page has a caller's own objects only, and is filled from as many pages of the upstream as that takes."""

from typing import Final

from tidegate.core.domain.caller import Caller
from tidegate.gateway.receive.request import InvalidCall
from tidegate.gateway.tenants.cursors import Cursors
from tidegate.gateway.tenants.own_pages import ListQuery, OwnPages, read_page
from tidegate.gateway.tenants.responses import lookup
from tidegate.gateway.tenants.routes import ObjectRoute
from tidegate.gateway.tenants.tenants import Tenants
from tidegate.http.asgi import App, Message, Send

__all__ = ["OwnLists"]

_MAX_REQUESTS: Final = 50
"""Requests to the upstream for one page: 50,000 batches, or 5,000 sessions."""


class OwnLists:
    """Serves lists of a caller's own objects.

    Args:
        gateway: serves the pages of the upstream. Each is a call of its own.
        tenants: decides which objects the caller may see.
        cursors: make the cursors of lists with tokens.
    """

    def __init__(self, gateway: App, tenants: Tenants, cursors: Cursors) -> None:
        self._gateway = gateway
        self._tenants = tenants
        self._cursors = cursors

    async def serve(self, route: ObjectRoute, caller: Caller, scope: Message, send: Send) -> None:
        """Responds with a page. An error of the upstream is relayed unchanged.

        Raises:
            InvalidCall: the cursor is none of this list; or a response of the upstream cannot be read.
            Refusal: LEDGER_UNAVAILABLE, the ledger cannot say whose the objects are.
        """
        pages = await self._pages(caller, ListQuery.of(scope["query_string"]))
        for left in reversed(range(_MAX_REQUESTS)):
            response = await lookup(self._gateway, scope, scope["path"], pages.next_query or b"")
            if not response.has_succeeded:
                await response.relay(send)
                return
            page = read_page(response.body()) if response.is_json else None
            if page is None:
                raise _unreadable(route)
            pages.add(page, await self._tenants.are_own_items(caller, page.items, route.collection))
            if pages.next_query is not None and not left and not pages.stop():
                raise _too_long(route)
            if pages.next_query is None:
                await response.relay(send, pages.body())
                return

    async def _pages(self, caller: Caller, query: ListQuery) -> OwnPages:
        """Checks the cursors of a query.

        Raises:
            InvalidCall: 400, a cursor names an object that the caller may not see, or was not made here.
            Refusal: as `serve`.
        """
        for name, object_id in (("after_id", query.after_id), ("before_id", query.before_id)):
            if object_id and not (await self._tenants.are_own(caller, [object_id]))[0]:
                raise _invalid_cursor(name, object_id, "the id of an object in this list")
        if not query.page:
            return OwnPages(query, self._cursors)
        start = self._cursors.open(query.page)
        if start is None:
            raise _invalid_cursor("page", query.page, "the `next_page` of a page before")
        return OwnPages(query, self._cursors, start)


def _invalid_cursor(name: str, given: str, allowed: str) -> InvalidCall:
    return InvalidCall(f"{name}: got {given[:80]!r}, allowed is {allowed}")


def _unreadable(route: ObjectRoute) -> InvalidCall:
    """The error for a list that cannot be filtered. Nothing of it is shown."""
    message = f"the upstream's list of {route.collection} cannot be read, so that it cannot be filtered by tenant"
    return InvalidCall(message, status=502, error_type="api_error")


def _too_long(route: ObjectRoute) -> InvalidCall:
    message = f"too many {route.collection} of other callers come first in the list"
    return InvalidCall(message, status=503, error_type="api_error")
