"""`/api/system/usage`: who used how much, from the ledger."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from tidegate.api.access import for_browsers
from tidegate.api.content_negotiation import prefers
from tidegate.api.examples import SESSIONS_EXAMPLE, USAGE_EXAMPLE, response_example
from tidegate.api.routes.ledger_calls import LedgerCalls
from tidegate.api.routes.usage_format import as_csv, as_json, shown_session, usage_query
from tidegate.api.services import Services

__all__ = ["NO_LEDGER", "SESSIONS_PATH", "USAGE_PATH", "usage_router"]

USAGE_PATH: Final = "/api/system/usage"
NO_LEDGER: Final = (
    "this service has no ledger: set TIDEGATE_STATE_DIR or TIDEGATE_DATABASE_URL, and install tidegate[ledger]"
)
SESSIONS_PATH: Final = f"{USAGE_PATH}/sessions"
_MAX_SESSIONS: Final = 1_000
_CSV: Final = "text/csv"
_JSON: Final = "application/json"
_HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""A browser that knows the key sends it with requests of other sites as well: they must not embed the figures."""


def usage_router(services: Services) -> APIRouter:
    """The route that reports usage."""
    router = APIRouter(tags=["system"], route_class=for_browsers(services))
    calls = LedgerCalls()

    @router.get(
        USAGE_PATH,
        summary="Who used how much",
        response_class=Response,
        responses={200: {"content": {_JSON: {"example": USAGE_EXAMPLE}, _CSV: {}}}},
    )
    async def usage(
        request: Request,
        by: str = "caller",
        since: str = "7d",
        until: str | None = None,
        format: Literal["json", "csv"] | None = None,  # noqa: A002 - the name of the parameter
    ) -> Response:
        """Sums of calls, refusals, tokens, cost and waits, the most expensive group first.

        `by` is one to three of `team`, `caller`, `model`, `pool`, `class`, `hour` and `day`, separated by commas.
        `since` and `until` are `12h`, `7d` or `4w` ago, or a date or time in ISO 8601; whole hours count. `cost_usd` is
        that of models with a known price; `prices` says from where. `waits` are calls by the seconds that they waited
        for quota at most. The key of a caller who is no admin sees this caller only. Usage of the last second may be
        missing. `format=csv` or `Accept: text/csv` returns a table.
        """
        ledger = services.ledger
        if ledger is None:
            raise HTTPException(501, NO_LEDGER)
        caller = getattr(request.state, "caller", None)
        query = usage_query(
            by, since, until, services.clock.wall_seconds(), caller=None if caller is None else caller.label
        )
        report = await calls.run(lambda: ledger.report(query))
        wants_csv = prefers(request.headers.get("accept", ""), _CSV, _JSON) if format is None else format == "csv"
        if wants_csv:
            return Response(as_csv(query, report), media_type=_CSV, headers=_HEADERS)
        prices: list[dict[str, Any]] = [
            {"source": source, "read_on": read_on.isoformat()} for source, read_on in services.price_sources
        ]
        return JSONResponse({**as_json(query, report), "prices": prices}, headers=_HEADERS)

    @router.get(
        SESSIONS_PATH,
        summary="The most expensive sessions",
        responses=response_example(SESSIONS_EXAMPLE),
    )
    async def sessions(
        request: Request, since: str = "7d", limit: Annotated[int, Query(ge=1, le=_MAX_SESSIONS)] = 20
    ) -> Response:
        """The most expensive sessions of the last 30 days that were used since a time, with all their usage.

        A session has the id that its client sends, or a hash of it if it is long or not plain. `since` is as for usage.
        The key of a caller who is no admin sees its own sessions only.
        """
        ledger = services.ledger
        if ledger is None:
            raise HTTPException(501, NO_LEDGER)
        caller = getattr(request.state, "caller", None)
        label = None if caller is None else caller.label
        query = usage_query("caller", since, None, services.clock.wall_seconds(), caller=label)
        found = await calls.run(lambda: ledger.sessions(query, limit))
        return JSONResponse({"sessions": [shown_session(each) for each in found]}, headers=_HEADERS)

    return router
