"""`/v1/files…`: uploads and downloads, which pass through the disk and not the memory.

Every file can be downloaded; the real API only gives back what its own tools have made.
Source: the Anthropic Python SDK 2.12.0 (`types/file_metadata.py`), Claude Platform Docs "Files API".
"""

import contextlib
import json
from typing import IO, Any, Final

from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.http.asgi import Reply, send_head
from claude_simulator.http.file_store import Content
from claude_simulator.http.multipart import boundary_of, read_form
from claude_simulator.http.paging import page_of
from claude_simulator.http.routing import MAX_FILE_BYTES, Visit
from claude_simulator.limits.headers import rfc3339

_CHUNK_BYTES: Final = 256 * 1024
_FORM_OVERHEAD_BYTES: Final = 64 * 1024


async def upload_file(visit: Visit) -> Reply:
    """Keep the file in the form's field `file`."""
    boundary = boundary_of(visit.headers.get("content-type", ""))
    content: IO[bytes] | None = None
    name, kind, size_bytes = "", "application/octet-stream", 0
    with contextlib.ExitStack() as on_failure:
        async for part, piece in read_form(visit.chunks(MAX_FILE_BYTES + _FORM_OVERHEAD_BYTES), boundary):
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
        "id": visit.world.new_id("file"),
        "size_bytes": size_bytes,
        "created_at": rfc3339(visit.world.clock.wall_seconds()),
        "filename": name,
        "mime_type": kind,
        "downloadable": True,
        "expires_at": None,
    }
    visit.world.files.add(info, content)
    return _json(info)


async def list_files(visit: Visit) -> Reply:
    """A page of all files."""
    return _json(page_of(visit, visit.world.files.listing()))


async def show_file(visit: Visit) -> Reply:
    """What is known of a file."""
    return _json(visit.world.files.find(visit.ids[0]).info)


async def delete_file(visit: Visit) -> Reply:
    """Forget a file."""
    visit.world.files.remove(visit.ids[0])
    return _json({"id": visit.ids[0], "type": "file_deleted"})


async def download_file(visit: Visit) -> None:
    """Send a file's content, piece by piece."""
    file = visit.world.files.find(visit.ids[0])
    visit.world.answers_by_status[200] += 1
    headers = {**visit.common, "content-length": str(file.info["size_bytes"])}
    await send_head(visit.send, 200, file.info["mime_type"], headers)
    position = 0
    while True:
        file.content.seek(position)  # another download may have moved it
        piece = file.content.read(_CHUNK_BYTES)
        position += len(piece)
        await visit.send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})
        if not piece:
            return


def _json(value: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(value).encode())
