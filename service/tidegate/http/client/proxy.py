"""Tunnels through the HTTP proxy that `HTTPS_PROXY` and `NO_PROXY` name, by CONNECT."""

import asyncio
import base64
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["Proxy", "ProxyError", "proxy_for"]

_MAX_HEAD_BYTES: Final = 16 * 1024
_ALLOWED: Final = "the http:// URL of a proxy such as http://proxy.example:3128, or nothing"


class ProxyError(OSError):
    """The proxy opened no tunnel; `strerror` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(None, reason)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of `proxy-authorization`, empty if there is none."""

    host: str
    port: int
    authorization: bytes = field(default=b"", repr=False)

    async def tunnel(self, host: str, port: int) -> socket.socket:
        """Opens a tunnel to a host; returns a connected, non-blocking socket.

        Raises:
            OSError: the proxy cannot be reached, or refuses (`ProxyError`).
        """
        connected = await _connected(self.host, self.port)
        try:
            await self._ask(connected, host, port)
        except BaseException:
            connected.close()
            raise
        return connected

    async def _ask(self, connected: socket.socket, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1".encode(), f"host: {target}".encode()]
        if self.authorization:
            lines.append(b"proxy-authorization: " + self.authorization)
        await loop.sock_sendall(connected, b"\r\n".join([*lines, b"", b""]))
        head = b""
        while b"\r\n\r\n" not in head:
            data = await loop.sock_recv(connected, 4096)
            head += data
            if not data or len(head) > _MAX_HEAD_BYTES:
                raise ProxyError("the proxy sent no valid response")
        status = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
            raise ProxyError("the proxy sent no valid response")
        if not status[1].startswith(b"2"):
            raise ProxyError(f"the proxy refused with status {status[1].decode()}")
        if not head.endswith(b"\r\n\r\n"):
            raise ProxyError("the proxy sent bytes after its response")


def proxy_for(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for an upstream: that of `HTTPS_PROXY`, if the URL is https and `NO_PROXY` does not name its host.

    Lower-case names of the variables take precedence, as in curl and Python.

    Raises:
        ConfigurationError: HTTPS_PROXY is not the URL of an http proxy.
    """
    parts = urlsplit(url)
    value = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or ""
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if parts.scheme != "https" or not value or _is_exempt(parts.hostname or "", parts.port or 443, exempt):
        return None
    try:
        proxy = urlsplit(value if "://" in value else f"http://{value}")
        host, port = proxy.hostname, proxy.port or 80
    except ValueError:
        raise ConfigurationError("HTTPS_PROXY", "(hidden)", _ALLOWED) from None
    if proxy.scheme != "http" or not host or proxy.path.strip("/") or proxy.query:
        raise ConfigurationError("HTTPS_PROXY", f"{proxy.scheme}://{host or ''}…", _ALLOWED)
    authorization = b""
    if proxy.username is not None:
        secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        authorization = b"Basic " + base64.b64encode(secret)
    return Proxy(host, port, authorization)


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """Whether `NO_PROXY` names a host: by name, domain, address, network, or `*`."""
    for entry in filter(None, (part.strip().lower() for part in exempt.split(","))):
        if entry == "*":
            return True
        name, _, only_port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        if only_port not in {"", str(port)}:
            continue
        name = name.strip("[]").removeprefix("*").removeprefix(".")
        if name and (host == name or host.endswith(f".{name}") or _is_in_network(host, name)):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


async def _connected(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure = OSError(None, "the proxy's name has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.settimeout(0)
            await loop.sock_connect(connecting, address)
        except OSError as error:
            connecting.close()
            failure = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise failure
