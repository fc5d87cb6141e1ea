"""The FastAPI application, and the whole service as one ASGI application."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from tidegate import __version__
from tidegate.api.bodies import ProblemDocument
from tidegate.api.dispatcher import Dispatcher
from tidegate.api.examples import PROBLEM_EXAMPLE
from tidegate.api.problems import handle_errors
from tidegate.api.routes.audit import audit_router
from tidegate.api.routes.budgets import budgets_router
from tidegate.api.routes.docs import add_docs
from tidegate.api.routes.generation import generation_router
from tidegate.api.routes.health import health_router
from tidegate.api.routes.keys import keys_router
from tidegate.api.routes.pauses import pauses_router
from tidegate.api.routes.queue import queue_router
from tidegate.api.routes.system import system_router
from tidegate.api.routes.usage import usage_router
from tidegate.api.routes.usage_page import usage_page_router
from tidegate.api.services import Services

__all__ = ["create_api", "create_app"]

_NO_TELEMETRY: Final[TelemetryConfig] = {
    # FastAPI's telemetry would record the validated bodies, which contain prompts. See `observe` for ours.
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

_PROBLEM: Final = {
    "model": ProblemDocument,
    "description": "A problem document (RFC 9457).",
    "content": {"application/problem+json": {"example": PROBLEM_EXAMPLE}},
}


def create_app(services: Services) -> ASGIApp:
    """The service: `/v1/…` goes to the gateway, everything else to FastAPI."""
    return Dispatcher(services, create_api(services))


def create_api(services: Services) -> FastAPI:
    """The FastAPI application. It expects the state that the dispatcher puts into the scope."""
    api = FastAPI(
        title="Tidegate",
        version=__version__,
        description="Workflow generation, limits and their state. `/v1` relays the Claude API.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    if services.tracer_provider is not None:
        from tidegate.observe.tracing.api_spans import instrument_api  # noqa: PLC0415 - only where something is traced

        instrument_api(api, services.tracer_provider)
    handle_errors(api)
    problems: dict[int | str, dict[str, Any]] = {"4XX": _PROBLEM, "5XX": _PROBLEM}
    api.include_router(generation_router(services), responses=problems)
    api.include_router(system_router(services), responses=problems)
    api.include_router(queue_router(services), responses=problems)
    api.include_router(usage_router(services), responses=problems)
    api.include_router(usage_page_router(services))
    api.include_router(budgets_router(services), responses=problems)
    api.include_router(keys_router(services), responses=problems)
    api.include_router(pauses_router(services), responses=problems)
    api.include_router(audit_router(services), responses=problems)
    api.include_router(health_router(services))
    add_docs(api)
    return api
