"""`/usage`: the page of usage for people, and its style."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from tidegate.api import usage_page as package
from tidegate.api.access import reader_of
from tidegate.api.routes.budgets import budgets_of
from tidegate.api.routes.ledger_calls import LedgerCalls
from tidegate.api.routes.usage import NO_LEDGER
from tidegate.api.services import Ledger, Services
from tidegate.api.usage_page.page import STYLE_PATH, message_page, usage_page
from tidegate.api.usage_page.view import FILTERS, Asked, View
from tidegate.core.claude.header_names import TIDEGATE_CAUSE
from tidegate.core.domain.cause import CAUSES, Cause
from tidegate.core.domain.errors import ConfigurationError, LedgerUnavailable, Refusal
from tidegate.core.domain.time_span import moment
from tidegate.core.ports.usage_sink import UsageGroup, UsageQuery

__all__ = ["USAGE_PAGE_PATH", "USAGE_STYLE_PATH", "usage_page_router"]

USAGE_PAGE_PATH: Final = "/usage"
USAGE_STYLE_PATH: Final = f"/{STYLE_PATH}"
_STYLE: Final = (Path(package.__file__).parent / "style.css").read_text()
_SESSIONS: Final = 10
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LOG_IN: Final = 'Basic realm="Tidegate usage", charset="UTF-8"'
"""The key is the password; the name does not matter. `/usage` and its figures alone accept it."""


def usage_page_router(services: Services) -> APIRouter:
    """The routes of the page."""
    router = APIRouter(include_in_schema=False)
    calls = LedgerCalls()

    @router.get(USAGE_PAGE_PATH)
    async def page(request: Request, since: str = "7d", team: str = "", caller: str = "", model: str = "") -> Response:
        """The page for the viewers and admins of everything, and for a caller of its own usage."""
        try:
            reader = reader_of(services, request.scope, from_browser=True)
            if services.ledger is None:
                return _page(501, message_page("There is no ledger", NO_LEDGER))
            ledger, now = services.ledger, services.clock.wall_seconds()
            only_caller = None if reader is None else reader.label
            asked = Asked(since, team or None, caller or None, model or None)
            if only_caller is not None:
                asked = replace(asked, team=None, caller=None)
            query = _query(asked, now, only_caller)
            view = await calls.run(lambda: _view(services, ledger, query, asked, only_caller))
            view = replace(view, budgets=budgets_of(services, reader))
        except (Refusal, LedgerUnavailable, ConfigurationError) as error:
            return _problem(error)
        return _page(200, usage_page(view))

    @router.get(USAGE_STYLE_PATH)
    async def style() -> Response:
        """The style of the page."""
        headers = {"cache-control": "max-age=300", "x-content-type-options": "nosniff"}
        return Response(_STYLE, media_type="text/css", headers=headers)

    return router


def _query(asked: Asked, now: float, only_caller: str | None) -> UsageQuery:
    """The query to the ledger.

    Raises:
        ConfigurationError: the period is not understood, or has not begun.
    """
    since, until = moment("since", asked.period, now), int(now) + 1
    if since >= until:
        raise ConfigurationError("since", asked.period, "a time before now")
    return UsageQuery(since, until, FILTERS, only_caller or asked.caller, asked.team, asked.model)


def _view(services: Services, ledger: Ledger, query: UsageQuery, asked: Asked, only_caller: str | None) -> View:
    """Reads the figures. Waits for the database."""
    overview = ledger.overview(query)
    groups = overview.groups
    if asked.is_filtered:
        groups = ledger.report(replace(query, team=None, caller=only_caller, model=None)).groups
    pauses = services.pauses.all_pauses() if services.pauses is not None and only_caller is None else ()
    return View(
        asked,
        query.since,
        query.until,
        overview,
        {name: _names(name, groups, getattr(asked, name)) for name in FILTERS},
        ledger.sessions(query, _SESSIONS) if asked.model is None else (),
        pauses,
        prices=services.price_sources,
        only_caller=only_caller,
    )


def _names(name: str, groups: tuple[UsageGroup, ...], chosen: str | None) -> list[str]:
    """The names to choose from, with the chosen one even if it has no usage."""
    return sorted({str(group.group[name]) for group in groups} | {chosen or ""} - {""})


def _problem(error: Refusal | LedgerUnavailable | ConfigurationError) -> Response:
    """The page for an error."""
    if isinstance(error, ConfigurationError):
        return _page(422, message_page("This address is not understood", str(error)))
    if isinstance(error, LedgerUnavailable):
        text = f"{error}. Usage is kept in memory until the database works again; reload the page then."
        return _page(503, message_page("The ledger does not answer", text), Cause.LEDGER_UNAVAILABLE)
    status = CAUSES[error.cause].status
    if error.cause is Cause.UNAUTHENTICATED:
        text = "Log in with your key of Tidegate as the password. The user name does not matter."
        return _page(status, message_page("A key is needed", text), error.cause, log_in=True)
    return _page(status, message_page("The page cannot be shown now", f"{error}."), error.cause)


def _page(status: int, html: str, cause: Cause | None = None, *, log_in: bool = False) -> Response:
    headers = {
        **_HEADERS,
        **({} if cause is None else {TIDEGATE_CAUSE: cause.value}),
        **({"www-authenticate": _LOG_IN} if log_in else {}),
    }
    return HTMLResponse(html, status, headers)
