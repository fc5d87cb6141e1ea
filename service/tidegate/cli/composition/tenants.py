"""The tenants of the service, as the settings describe them."""

from collections.abc import Awaitable, Callable
from typing import Final

from tidegate.core.ports.ownership import Ownership
from tidegate.gateway.receive.request import COUNT_TOKENS_ROUTE, MESSAGES_ROUTE
from tidegate.gateway.tenants.cursors import Cursors
from tidegate.gateway.tenants.objects import TenantObjects
from tidegate.gateway.tenants.tenants import Tenants
from tidegate.http.asgi import App, Message, Receive, Send
from tidegate.identity.identify import Identifier
from tidegate.settings import Settings

__all__ = ["tenants_of", "with_tenants"]

_DIRECT: Final = frozenset({MESSAGES_ROUTE, COUNT_TOKENS_ROUTE})
"""Routes of most calls, which name objects only in bodies."""


def tenants_of(settings: Settings, ownership: Ownership, identifier: Identifier) -> Tenants:
    """The tenants of a service with a ledger."""
    return Tenants(ownership, identifier, tenant=settings.tenant, unowned=settings.unowned)


def with_tenants(messages: App, others: App, tenants: Tenants | None, upstream_key: Callable[[], bytes]) -> App:
    """Routes calls to Messages past the tenants, and all others through them, if there are any.

    Args:
        messages: serves Messages calls.
        others: serves all other calls.
        tenants: the tenants.
        upstream_key: returns a secret that all replicas share, for cursors.
    """
    objects = others if tenants is None else TenantObjects(others, tenants, Cursors(upstream_key))

    def serve(scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        return (messages if scope["path"] in _DIRECT else objects)(scope, receive, send)

    return serve
