"""`/api/system/keys`: creates, rotates, revokes and expires keys of the ledger."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from tidegate.api.access import for_admins
from tidegate.api.examples import (
    CREATE_KEY_EXAMPLES,
    EXPIRE_KEY_EXAMPLES,
    KEY_EXAMPLE,
    KEYS_EXAMPLE,
    NEW_KEY_EXAMPLE,
    ROTATE_KEY_EXAMPLES,
    response_example,
)
from tidegate.api.routes.ledger_calls import LedgerCalls
from tidegate.api.routes.usage import NO_LEDGER
from tidegate.api.services import Services
from tidegate.core.domain.caller import DEFAULT_TEAM, Priority, Role
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.time_span import end_of
from tidegate.core.ports.key_store import KeyAdministration, KeyInfo, NewCaller, NewKey
from tidegate.settings.fields.field_types import Amount, CallerName, ModelIds

__all__ = ["KEYS_PATH", "keys_router", "shown_key"]

KEYS_PATH: Final = "/api/system/keys"
_GRACE: Final = "7d"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateKeyBody(_Body):
    """A caller to create, and when its first key expires: `90d` from now, a date or time; null: never."""

    name: CallerName
    team: CallerName = DEFAULT_TEAM
    role: Role = Role.CALLER
    weight: Amount = 1.0
    priority: Priority = Priority.STANDARD
    models: ModelIds = ()
    expires: str | None = None


class RotateBody(_Body):
    """The time for which the old key stays valid."""

    grace: Annotated[str, Field(description="such as 12h, 7d or 4w from now, or a date or time")] = _GRACE


_USUAL_ROTATION: Final = RotateBody()


class ExpireBody(_Body):
    """The moment at which the key expires."""

    at: Annotated[str, Field(description="such as 12h, 7d or 4w from now, or a date or time")]


def keys_router(services: Services) -> APIRouter:
    """The routes that administer keys."""
    router = APIRouter(tags=["keys"], route_class=for_admins(services))
    calls = LedgerCalls()

    def ledger_keys() -> KeyAdministration:
        if services.keys is None:
            raise HTTPException(501, NO_LEDGER)
        return services.keys

    def now() -> float:
        return services.clock.wall_seconds()

    @router.get(KEYS_PATH, summary="All keys", responses=response_example(KEYS_EXAMPLE))
    async def list_keys() -> dict[str, Any]:
        """All keys of the ledger, by caller. Neither keys nor their hashes are shown."""
        found = await calls.run(ledger_keys().all_keys)
        return {"keys": [shown_key(each, now()) for each in found]}

    @router.post(
        KEYS_PATH,
        status_code=201,
        summary="Create a caller and its key",
        responses=response_example(NEW_KEY_EXAMPLE, 201),
    )
    async def create_key(
        request: Request, body: Annotated[CreateKeyBody, Body(openapi_examples=CREATE_KEY_EXAMPLES)]
    ) -> dict[str, Any]:
        """Creates a random key of 256 bits for a new caller. The answer is the only place where it is ever shown."""
        if any(caller.name == body.name for caller in services.settings.callers):
            raise ConfigurationError("name", body.name, "a name that no caller of the configuration has")
        caller = NewCaller(body.name, body.team, body.role, body.weight, body.priority, body.models)
        expires_at = None if body.expires is None else end_of("expires", body.expires, now())
        keys, by = ledger_keys(), request.state.admin
        return _shown_new(await calls.run(lambda: keys.create(caller, expires_at=expires_at, by=by)))

    @router.post(
        f"{KEYS_PATH}/{{name}}/rotate",
        status_code=201,
        summary="Create a second key of a caller",
        responses=response_example(NEW_KEY_EXAMPLE, 201),
    )
    async def rotate_key(
        request: Request,
        name: str,
        body: Annotated[RotateBody, Body(openapi_examples=ROTATE_KEY_EXAMPLES)] = _USUAL_ROTATION,
    ) -> dict[str, Any]:
        """Creates a second key. The first stays valid for the `grace`, so that clients can change over."""
        grace_seconds = end_of("grace", body.grace, now()) - int(now())
        keys, by = ledger_keys(), request.state.admin
        return _shown_new(await calls.run(lambda: keys.rotate(name, grace_seconds=grace_seconds, by=by)))

    @router.post(f"{KEYS_PATH}/{{key}}/expire", summary="Let a key expire", responses=response_example(KEY_EXAMPLE))
    async def expire_key(
        request: Request, key: str, body: Annotated[ExpireBody, Body(openapi_examples=EXPIRE_KEY_EXAMPLES)]
    ) -> dict[str, Any]:
        """Lets the key with this id expire at a moment."""
        at, keys, by = end_of("at", body.at, now()), ledger_keys(), request.state.admin
        return shown_key(await calls.run(lambda: keys.expire(key, at, by=by)), now())

    @router.delete(f"{KEYS_PATH}/{{key}}", summary="Revoke a key", responses=response_example(KEYS_EXAMPLE))
    async def revoke_key(request: Request, key: str) -> dict[str, Any]:
        """Ends the key with this id, or all keys of the caller with this name. No call can be made with it any more."""
        keys, by = ledger_keys(), request.state.admin
        ended = await calls.run(lambda: keys.revoke(key, by=by))
        return {"keys": [shown_key(each, now()) for each in ended]}

    return router


def shown_key(key: KeyInfo, now: float) -> dict[str, Any]:
    """A key as an object, with its state."""
    return {
        "id": key.id,
        "caller": key.caller,
        "team": key.team,
        "role": key.role,
        "state": key.state(now),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _shown_new(key: NewKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "caller": key.caller,
        "key": key.key,
        "expires_at": key.expires_at,
        "old_key": key.old_key,
        "old_valid_until": key.old_valid_until,
    }
