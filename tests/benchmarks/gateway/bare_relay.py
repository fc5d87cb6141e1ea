"""A minimal relay without a limiter, with uvicorn and aiohttp, for comparison with Tidegate."""

import argparse
from typing import Any, Final

import aiohttp
import uvicorn

__all__ = ["BareRelay"]

_DROPPED: Final = {b"host", b"content-length", b"connection", b"transfer-encoding", b"keep-alive"}


class BareRelay:
    """Forwards each request and streams the response; changes only hop-by-hop headers."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if self.session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self.session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"] if name not in _DROPPED]
        target = f"{self._upstream}{scope['path']}?{scope['query_string'].decode()}"
        async with self.session.request(scope["method"], target, data=body, headers=headers) as answer:
            passed = [(name.lower(), value) for name, value in answer.raw_headers if name.lower() not in _DROPPED]
            length = answer.headers.get("content-length")
            if length is not None:
                passed.append((b"content-length", length.encode()))
            await send({"type": "http.response.start", "status": answer.status, "headers": passed})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    uvicorn.run(
        BareRelay(options.upstream),
        port=options.port,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    _main()
