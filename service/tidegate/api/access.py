"""Checks access and identifies callers of the `/api` routes, before a request's body is read."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import Scope

from tidegate.api.problems import AccessDenied
from tidegate.api.services import Services
from tidegate.core.ports.transport import Fields
from tidegate.identity.access import AccessRequest, AccessRules
from tidegate.identity.sessions import with_priority

__all__ = ["access_request", "for_admins", "for_callers", "for_callers_and_admins"]


def access_request(rules: AccessRules, scope: Scope) -> AccessRequest:
    """The parts of a request that the access rules read."""
    peer, headers = scope.get("client"), scope["headers"]
    return AccessRequest(scope["path"], dict(headers), rules.proxies.client(peer[0] if peer else None, headers))


def for_callers(services: Services) -> type[APIRoute]:
    """A route class for calls that use quota. It puts the caller, with its priority, into `request.state.caller`."""

    def check(request: Request) -> None:
        fields = _fields(request)
        caller = request.state.caller = services.identifier.identify(fields)
        request.state.caller = with_priority(caller, fields)
        if services.ledger is not None:
            services.ledger.check()

    return _checked(check)


def for_admins(services: Services) -> type[APIRoute]:
    """A route class for admins. It puts the admin's name into `request.state.admin`."""

    def check(request: Request) -> None:
        admin_request = access_request(services.access, request.scope)
        denial = services.access.check_admin(admin_request)
        if denial is not None:
            raise AccessDenied(denial)
        request.state.admin = services.access.admin_name(admin_request.fields)

    return _checked(check)


def for_callers_and_admins(services: Services) -> type[APIRoute]:
    """A route class for callers, viewers and admins. It puts a caller into `request.state.caller`."""

    def check(request: Request) -> None:
        fields = _fields(request)
        denial = services.access.check_admin(access_request(services.access, request.scope))
        if denial is not None and not services.access.is_viewer(fields):
            request.state.caller = services.identifier.identify(fields)

    return _checked(check)


def _checked(check: Callable[[Request], None]) -> type[APIRoute]:
    """A route class that runs a check first. FastAPI resolves dependencies only after it has read the body."""

    class CheckedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

            async def checked(request: Request) -> Response:
                check(request)
                return await handle(request)

            return checked

    return CheckedRoute


def _fields(request: Request) -> Fields:
    return dict(request.scope["headers"])
