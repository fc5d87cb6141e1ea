"""Handlers of `/v1/files…`. Uploads and downloads are spooled to disk.

Every file can be downloaded. The real API allows that only for files that its own tools created.
Source: the Anthropic Python SDK 2.12.0 (`types/file_metadata.py`), Claude Platform Docs "Files API".
"""

import contextlib
from typing import IO, Final

from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.http.asgi import Response, json_response, send_head
from claude_simulator.http.file_store import Content
from claude_simulator.http.multipart import boundary_of, read_form
from claude_simulator.http.paging import page_of
from claude_simulator.http.routing import MAX_FILE_BYTES, Exchange
from claude_simulator.limits.headers import rfc3339

_CHUNK_BYTES: Final = 256 * 1024
_FORM_OVERHEAD_BYTES: Final = 64 * 1024


async def upload_file(exchange: Exchange) -> Response:
    """Stores the file in the form field `file`."""
    boundary = boundary_of(exchange.headers.get("content-type", ""))
    content: IO[bytes] | None = None
    name, kind, size_bytes = "", "application/octet-stream", 0
    with contextlib.ExitStack() as on_failure:
        async for part, piece in read_form(exchange.chunks(MAX_FILE_BYTES + _FORM_OVERHEAD_BYTES), boundary):
            if part.name != "file" or part.filename is None:
                continue
            if content is None:
                content = on_failure.enter_context(Content())
                name, kind = part.filename, part.content_type or kind
            size_bytes += content.write(piece)
        if content is None:
            raise invalid_request("file: Field required")
        on_failure.pop_all()
    if size_bytes > MAX_FILE_BYTES:
        content.close()
        raise ApiError(413, "request_too_large", f"File exceeds the maximum size of {MAX_FILE_BYTES} bytes")
    info = {
        "type": "file",
        "id": exchange.state.new_id("file"),
        "size_bytes": size_bytes,
        "created_at": rfc3339(exchange.state.clock.wall_seconds()),
        "filename": name,
        "mime_type": kind,
        "downloadable": True,
        "expires_at": None,
    }
    exchange.state.files.add(info, content)
    return json_response(info)


async def list_files(exchange: Exchange) -> Response:
    """Lists a page of files."""
    return json_response(page_of(exchange, exchange.state.files.listing()))


async def show_file(exchange: Exchange) -> Response:
    """Shows the metadata of a file."""
    return json_response(exchange.state.files.find(exchange.ids[0]).info)


async def delete_file(exchange: Exchange) -> Response:
    """Deletes a file."""
    exchange.state.files.remove(exchange.ids[0])
    return json_response({"id": exchange.ids[0], "type": "file_deleted"})


async def download_file(exchange: Exchange) -> None:
    """Sends the content of a file in chunks."""
    file = exchange.state.files.find(exchange.ids[0])
    exchange.state.responses_by_status[200] += 1
    headers = {**exchange.common, "content-length": str(file.info["size_bytes"])}
    await send_head(exchange.send, 200, file.info["mime_type"], headers)
    position = 0
    while True:
        file.content.seek(position)  # another download may have moved it
        chunk = file.content.read(_CHUNK_BYTES)
        position += len(chunk)
        await exchange.send({"type": "http.response.body", "body": chunk, "more_body": bool(chunk)})
        if not chunk:
            return
