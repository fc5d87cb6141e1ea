"""`/docs`, complete without a network: the page's script, style and icon come from here, not from a CDN."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

__all__ = ["add_docs"]

_FILES: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
"""Files of the package fastapi-offline that the page needs, and their content types."""
_ONE_DAY: Final = {"cache-control": "public, max-age=86400"}


def add_docs(api: FastAPI) -> None:
    """Adds the page, under `/docs`, and its files, under `/docs/…`, to an application made with `docs_url=None`.

    Whoever opens the service's bare address in a browser is sent there.
    """
    directory = _static_directory()

    @api.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        """To the page; relative, so that it also works below a proxy's prefix."""
        return RedirectResponse("docs")

    @api.head("/", include_in_schema=False)
    async def here() -> Response:
        """Claude Code asks so whether the service is here, and follows no redirect."""
        return Response()

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The page."""
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{api.title} - API",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/favicon.png",
        )

    @api.get("/docs/{name}", include_in_schema=False)
    async def docs_file(name: str) -> Response:
        """A file of the page."""
        if name not in _FILES:
            return Response(status_code=404)
        return FileResponse(directory / name, media_type=_FILES[name], headers=_ONE_DAY)


def _static_directory() -> Path:
    """Where fastapi-offline keeps its files; found without importing it, which nothing else needs."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi_offline, which has the files of /docs, is not installed")
    return Path(spec.origin).parent / "static"
