"""`/docs` without a CDN: the page's script, style and icon are served from the package fastapi-offline."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

__all__ = ["add_docs"]

_FILES: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
"""Files of the page, and their content types."""
_ONE_DAY: Final = {"cache-control": "public, max-age=86400"}


def add_docs(api: FastAPI) -> None:
    """Adds `/docs` and its files to an application with `docs_url=None`. `/` redirects there."""
    directory = _static_directory()

    @api.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        """Redirects to the page. The path is relative, so that it works behind a proxy that adds a prefix."""
        return RedirectResponse("docs")

    @api.head("/", include_in_schema=False)
    async def root_head() -> Response:
        """Answers Claude Code, which checks the base URL with HEAD and does not follow redirects."""
        return Response()

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{api.title} - API",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/favicon.png",
        )

    @api.get("/docs/{name}", include_in_schema=False)
    async def docs_file(name: str) -> Response:
        if name not in _FILES:
            return Response(status_code=404)
        return FileResponse(directory / name, media_type=_FILES[name], headers=_ONE_DAY)


def _static_directory() -> Path:
    """The folder of fastapi-offline's files, found without importing the package."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi_offline, which provides the files of /docs, is not installed")
    return Path(spec.origin).parent / "static"
