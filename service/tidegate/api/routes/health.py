"""Liveness, readiness and metrics."""

import asyncio
import re
import time
import zlib
from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from tidegate import __version__
from tidegate.api.access import access_request
from tidegate.api.services import Exposition, Services
from tidegate.core.domain.errors import Refusal
from tidegate.identity.access import AccessRules

__all__ = ["health_router", "metrics_app"]

_TURN_SECONDS: Final = 0.002
"""A scrape holds up calls about this long at a time. With a turn for each of a hundred families, a scrape of a busy
service would take as long as a hundred turns of the event loop."""
_GZIP: Final = zlib.MAX_WBITS | 16
_GZIP_LEVEL: Final = 1
"""615 KB become 35 KB in 2 ms; the highest level makes 27 KB of them in 25 ms."""
_NONE: Final = re.compile(r"q=0(\.0*)?")
_DEGRADED: Final = "degraded: the shared store does not answer; this replica uses its share of the limits"
_STORE_LOST: Final = "store_unavailable: the shared store does not answer"


def health_router(services: Services) -> APIRouter:
    """The router of probes and metrics."""
    router = APIRouter(tags=["operation"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", summary="Liveness")
    async def healthz() -> dict[str, Any]:
        """Liveness: the process responds."""
        return {"status": "alive", "version": __version__, "upstream": services.upstream_kind}

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", summary="Readiness", responses={503: {"description": "Not ready; `reasons` says why."}})
    async def readyz() -> Response:
        """Readiness: whether requests can be admitted; 503 with the reasons if not.

        `warnings` are about calls that are admitted, but not as they should be.
        """
        reasons = await _reasons_not_ready(services)
        status = services.shared_status() if services.shared_status is not None else None
        warnings = {"warnings": [_DEGRADED]} if status is not None and status.is_degraded else {}
        return JSONResponse({"ready": not reasons, "reasons": reasons, **warnings}, 503 if reasons else 200)

    if services.exposition is not None:
        exposition = services.exposition

        @router.get("/metrics", summary="Metrics", response_class=Response)
        async def metrics(request: Request) -> Response:
            """OpenMetrics if the scraper accepts it, Prometheus text otherwise."""
            return await _metrics_response(exposition, request)

    return router


def metrics_app(exposition: Exposition, access_rules: Callable[[], AccessRules]) -> ASGIApp:
    """An application that serves only `/metrics`, for a separate address, under the rules in effect."""

    async def metrics(request: Request) -> Response:
        access = access_rules()
        denial = access.check_page(access_request(access, request.scope))
        if denial is not None:
            return PlainTextResponse(denial.message, denial.status)
        return await _metrics_response(exposition, request)

    return Starlette(routes=[Route("/metrics", metrics)])


async def _metrics_response(exposition: Exposition, request: Request) -> Response:
    """Renders the metrics, compressed if asked for. The event loop serves calls every few milliseconds."""
    content_type, pieces = exposition.pieces(request.headers.get("accept", ""))
    headers = {"content-type": content_type, "vary": "accept, accept-encoding"}
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP) if _accepts_gzip(request) else None
    body = []
    turn_ends = time.perf_counter() + _TURN_SECONDS
    for piece in pieces:
        body.append(piece if packer is None else packer.compress(piece))
        if time.perf_counter() >= turn_ends:
            await asyncio.sleep(0)
            turn_ends = time.perf_counter() + _TURN_SECONDS
    if packer is not None:
        body.append(packer.flush())
        headers["content-encoding"] = "gzip"
    return Response(b"".join(body), headers=headers)


def _accepts_gzip(request: Request) -> bool:
    """Whether the client asks for gzip, as Prometheus does. A weight of 0 forbids it."""
    codings = (each.partition(";") for each in request.headers.get("accept-encoding", "").lower().split(","))
    return any(name.strip() == "gzip" and not _NONE.fullmatch(weight.replace(" ", "")) for name, _, weight in codings)


async def _reasons_not_ready(services: Services) -> list[str]:
    reasons = ["draining: the service is shutting down"] if services.draining else []
    if services.reachability is not None and (problem := services.reachability.problem) is not None:
        reasons.append(problem)
    if services.shared_status is not None and services.shared_status().is_refusing:
        reasons.append(_STORE_LOST)
    try:
        await services.store.snapshot()
    except Refusal as refusal:
        reasons.append(str(refusal))
    return reasons
