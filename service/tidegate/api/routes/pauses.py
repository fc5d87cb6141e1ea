"""`/api/system/pauses`: stops callers, keys, teams, sessions and pools, and lets them go on."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from tidegate.api.access import for_admins
from tidegate.api.examples import PAUSE_EXAMPLE, PAUSE_EXAMPLES, PAUSES_EXAMPLE, response_example
from tidegate.api.routes.ledger_calls import LedgerCalls
from tidegate.api.routes.usage import NO_LEDGER
from tidegate.api.services import Services
from tidegate.core.domain.pause import Pause, PauseKind
from tidegate.core.ports.pauses import PauseAdministration
from tidegate.identity.sessions import plain_id
from tidegate.settings.fields.field_types import Text

__all__ = ["PAUSES_PATH", "pause_name", "pauses_router", "shown_pause"]

PAUSES_PATH: Final = "/api/system/pauses"


class PauseBody(BaseModel):
    """The target of a pause, and its reason."""

    model_config = ConfigDict(extra="forbid")

    kind: PauseKind
    name: Text
    reason: str = ""


def pauses_router(services: Services) -> APIRouter:
    """The routes that pause and resume."""
    router = APIRouter(tags=["system"], route_class=for_admins(services))
    calls = LedgerCalls()

    def pauses() -> PauseAdministration:
        if services.pauses is None:
            raise HTTPException(501, NO_LEDGER)
        return services.pauses

    @router.get(PAUSES_PATH, summary="What is paused", responses=response_example(PAUSES_EXAMPLE))
    async def list_pauses() -> dict[str, Any]:
        """All pauses, the newest first."""
        return {"pauses": [shown_pause(each) for each in await calls.run(pauses().all_pauses)]}

    @router.post(
        PAUSES_PATH,
        status_code=201,
        summary="Pause a caller, key, team, session or pool",
        responses=response_example(PAUSE_EXAMPLE, 201),
    )
    async def pause(
        request: Request, body: Annotated[PauseBody, Body(openapi_examples=PAUSE_EXAMPLES)]
    ) -> dict[str, Any]:
        """Refuses all calls from now on, also those that wait for quota, in every replica within a second.

        They are refused as `paused`, with status 403. Responses that have begun go on to their end.
        """
        name, ledger, by = pause_name(body.kind, body.name), pauses(), request.state.admin
        return shown_pause(await calls.run(lambda: ledger.pause(body.kind, name, reason=body.reason.strip(), by=by)))

    @router.delete(f"{PAUSES_PATH}/{{kind}}/{{name:path}}", summary="Resume", responses=response_example(PAUSE_EXAMPLE))
    async def resume(request: Request, kind: PauseKind, name: str) -> dict[str, Any]:
        """Ends a pause, and returns it. Calls are admitted again within a second."""
        named, ledger, by = pause_name(kind, name), pauses(), request.state.admin
        return shown_pause(await calls.run(lambda: ledger.resume(kind, named, by=by)))

    return router


def pause_name(kind: PauseKind, name: str) -> str:
    """The name by which a pause finds its calls. The id of a session is shortened as for the queue."""
    return plain_id(name.encode()) if kind is PauseKind.SESSION else name


def shown_pause(pause: Pause) -> dict[str, Any]:
    """A pause as an object."""
    return {"kind": pause.kind, "name": pause.name, "by": pause.by, "at": pause.at, "reason": pause.reason}
