"""Access and identity as dependencies of routes; asynchronous, because FastAPI runs others in threads."""

from collections.abc import Awaitable, Callable

from fastapi import Request

from tidegate.api.problems import AccessDenied
from tidegate.api.services import Services
from tidegate.core.caller import Caller
from tidegate.core.transport import Fields
from tidegate.identity.access import AccessRequest

__all__ = ["access_request", "admin_only", "caller_of", "caller_or_admin"]


def access_request(request: Request) -> AccessRequest:
    """What the access rules look at."""
    peer = request.client.host if request.client else None
    return AccessRequest(request.url.path, _fields(request), peer)


def caller_of(services: Services) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that names the caller, and refuses keys that are nobody's."""

    async def identify(request: Request) -> Caller:
        caller = services.identifier.identify(_fields(request))
        request.state.caller = caller
        return caller

    return identify


def admin_only(services: Services) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets in who may administer."""

    async def check(request: Request) -> None:
        denial = services.access.check_admin(access_request(request))
        if denial is not None:
            raise AccessDenied(denial)

    return check


def caller_or_admin(services: Services) -> Callable[[Request], Awaitable[None]]:
    """A dependency for what every caller may read, and administrators, too."""

    async def check(request: Request) -> None:
        if services.access.check_admin(access_request(request)) is not None:
            request.state.caller = services.identifier.identify(_fields(request))

    return check


def _fields(request: Request) -> Fields:
    return dict(request.scope["headers"])
