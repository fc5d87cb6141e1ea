"""`/api/system/audit`: what admins have changed."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException

from tidegate.api.access import for_admins
from tidegate.api.examples import AUDIT_EXAMPLE, response_example
from tidegate.api.routes.ledger_calls import LedgerCalls
from tidegate.api.routes.usage import NO_LEDGER
from tidegate.api.services import Services
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.time_span import moment
from tidegate.core.ports.audit import AuditEntry

__all__ = ["AUDIT_PATH", "audit_router", "shown_entry"]

AUDIT_PATH: Final = "/api/system/audit"
_MAX_ENTRIES: Final = 1_000


def audit_router(services: Services) -> APIRouter:
    """The route that lists what admins have changed."""
    router = APIRouter(tags=["system"], route_class=for_admins(services))
    calls = LedgerCalls()

    @router.get(
        AUDIT_PATH,
        summary="What admins have changed",
        responses=response_example(AUDIT_EXAMPLE),
    )
    async def audit(
        since: str = "7d", until: str | None = None, limit: Annotated[int, Query(ge=1, le=_MAX_ENTRIES)] = 100
    ) -> dict[str, Any]:
        """Changes of keys, limits, the configuration and pauses, the newest first: who, what, when, before and after.

        `since` and `until` are as for usage. Changes are kept for 400 days. A key is named by its id only.
        """
        trail, now = services.audit, services.clock.wall_seconds()
        if trail is None:
            raise HTTPException(501, NO_LEDGER)
        begin = moment("since", since, now)
        end = int(now) + 1 if until is None else moment("until", until, now)
        if begin >= end:
            raise ConfigurationError("since", since, "a time before the end")
        return {"changes": [shown_entry(each) for each in await calls.run(lambda: trail.entries(begin, end, limit))]}

    return router


def shown_entry(entry: AuditEntry) -> dict[str, Any]:
    """A change as an object."""
    return {
        "at": datetime.fromtimestamp(entry.at, UTC).isoformat(),
        "who": entry.who,
        "action": entry.action,
        "target": entry.target,
        "before": dict(entry.before),
        "after": dict(entry.after),
    }
