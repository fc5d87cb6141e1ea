"""nginx before the service and a second server, with a health check of the service."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["HealthCheck", "checked", "nginx", "wait_until_open"]

_HEALTH_CHECK: Final = Path(__file__).with_name("health_check.py")
_POLL_SECONDS: Final = 0.05
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
    keepalive_timeout 1h; # a client that is not scheduled for a minute still finds its connection
    keepalive_requests 1000000;
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
    """Knows what nginx is told of the service."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def wait_until(self, *, is_ready: bool) -> None:
        """Waits until nginx knows it."""
        while self._file.exists() != is_ready:  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(_POLL_SECONDS)


@contextmanager
def checked(directory: Path, service_port: int) -> Iterator[HealthCheck]:
    """Checks `/readyz` every second for the duration of a block, in a process that the load does not slow down.

    nginx itself has such checks only in its commercial version. This one does what the controllers of consul-template
    and Kubernetes do, but needs no reload of nginx, in which nginx closes connections that a client may be using.
    """
    file, url = directory / "service-is-ready", f"http://127.0.0.1:{service_port}/readyz"
    process = subprocess.Popen([sys.executable, _HEALTH_CHECK, url, file])
    try:
        yield HealthCheck(file)
    finally:
        process.kill()
        process.wait()
