"""Checks access and identifies callers of the `/api` routes, before a request's body is read."""

import base64
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import Scope

from tidegate.api.problems import AccessDenied
from tidegate.api.services import Services
from tidegate.core.claude.header_names import API_KEY, AUTHORIZATION
from tidegate.core.domain.caller import Caller
from tidegate.core.ports.transport import Fields
from tidegate.identity.access import AccessRequest, AccessRules
from tidegate.identity.sessions import with_priority

__all__ = ["access_request", "for_admins", "for_browsers", "for_callers", "for_callers_and_admins", "reader_of"]

_API_KEY, _AUTHORIZATION = API_KEY.encode(), AUTHORIZATION.encode()


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
        reader = reader_of(services, request.scope)
        if reader is not None:
            request.state.caller = reader

    return _checked(check)


def for_browsers(services: Services) -> type[APIRoute]:
    """As `for_callers_and_admins`, for routes that only read: the key may also be the password of a browser."""

    def check(request: Request) -> None:
        reader = reader_of(services, request.scope, from_browser=True)
        if reader is not None:
            request.state.caller = reader

    return _checked(check)


def reader_of(services: Services, scope: Scope, *, from_browser: bool = False) -> Caller | None:
    """The caller who may read its own figures; None: a viewer or an admin, who may read all.

    Args:
        services: the services.
        scope: the request.
        from_browser: whether the key may be the password of HTTP's Basic scheme, which browsers can send. Never for
            routes that change or spend anything: a browser sends it with requests of other sites as well.

    Raises:
        Refusal: as `Identifier.identify`.
    """
    request = access_request(services.access, scope)
    if from_browser:
        request = request._replace(fields=_with_password_as_key(request.fields))
    if services.access.check_admin(request) is None or services.access.is_viewer(request.fields):
        return None
    return services.identifier.identify(request.fields)


def _with_password_as_key(fields: Fields) -> Fields:
    """Header fields in which the password of HTTP's Basic scheme (RFC 7617) is the key, if there is no other."""
    scheme, _, credentials = fields.get(_AUTHORIZATION, b"").partition(b" ")
    if scheme.lower() != b"basic" or _API_KEY in fields:
        return fields
    try:
        _, _, password = base64.b64decode(credentials, validate=True).partition(b":")
    except ValueError:
        return fields
    return {**fields, _API_KEY: password}


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
