"""nginx before the service and a second server, with a health check of the service."""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import httpx2

__all__ = ["HealthCheck", "checked", "nginx", "wait_until_open"]

_CHECK_SECONDS: Final = 1.0
_CONFIGURATION: Final = """\
daemon off;
master_process off;
worker_rlimit_nofile 8192;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream service {{ server 127.0.0.1:{service}; keepalive 64; }}
  upstream second {{ server 127.0.0.1:{second}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      set $to second;
      if (-f {directory}/service-is-ready) {{ set $to service; }}
      proxy_pass http://$to;
      proxy_http_version 1.1;
      proxy_set_header connection "";
      proxy_set_header host $http_host;
      proxy_buffering off;
      proxy_read_timeout 600s;
      proxy_next_upstream off;
    }}
  }}
}}
"""
"""As documented for nginx. It repeats no call: whatever a server fails, the client notices."""


@contextmanager
def nginx(directory: Path, port: int, service_port: int, second_port: int) -> Iterator[None]:
    """Runs nginx. It sends calls to the service while there is a file `service-is-ready`, else to the second server."""
    file = directory / "nginx.conf"
    configuration = _CONFIGURATION.format(directory=directory, port=port, service=service_port, second=second_port)
    file.write_text(configuration, encoding="utf-8")
    process = subprocess.Popen(["nginx", "-p", directory, "-e", directory / "error.log", "-c", file])
    try:
        wait_until_open(port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def wait_until_open(port: int, seconds: float = 20) -> None:
    """Waits until a server listens on a port of the loopback interface."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.02)
        else:
            return


class HealthCheck:
    """Asks `/readyz` every second, and tells nginx by a file whether the service is ready.

    nginx itself has such checks only in its commercial version. This one does what the controllers of consul-template
    and Kubernetes do, but needs no reload of nginx, in which nginx closes connections that a client may be using.
    """

    def __init__(self, directory: Path, service_port: int) -> None:
        self._file = directory / "service-is-ready"
        self._url = f"http://127.0.0.1:{service_port}/readyz"
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Checks until it is cancelled."""
        async with httpx2.AsyncClient(timeout=_CHECK_SECONDS) as http:
            while True:
                await self._check(http)
                await asyncio.sleep(_CHECK_SECONDS)

    async def wait_until(self, *, is_ready: bool) -> None:
        """Waits until nginx knows it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._file.exists() == is_ready)

    async def _check(self, http: httpx2.AsyncClient) -> None:
        try:
            # A new connection each time, as load balancers do: an old one would lead to a process that drains.
            is_ready = (await http.get(self._url, headers={"connection": "close"})).status_code == 200
        except httpx2.HTTPError:
            is_ready = False
        async with self._changed:
            if is_ready:
                self._file.touch()
            else:
                self._file.unlink(missing_ok=True)
            self._changed.notify_all()


@asynccontextmanager
async def checked(directory: Path, service_port: int) -> AsyncIterator[HealthCheck]:
    """A health check for the duration of a block."""
    check = HealthCheck(directory, service_port)
    task = asyncio.create_task(check.run())
    try:
        yield check
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
