"""Opens listening sockets, with errors that name the setting to change."""

import contextlib
import socket
from typing import Final

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["allow_many_connections", "base_url", "bind", "url_of"]

_LOOPBACK_OF_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
"""Addresses that mean all interfaces of a machine, and the loopback address for each."""


def bind(host: str, port: int, host_setting: str, port_setting: str) -> socket.socket:
    """A socket bound to an address. The names of the two settings are for error messages.

    Raises:
        ConfigurationError: the port is in use or not permitted, or the host is not an address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(host_setting, host, f"a host name or address ({error.strerror})") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        allowed = f"a port that is free on {host} ({error.strerror})"
        raise ConfigurationError(port_setting, port, allowed) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The base URL of a listening socket, as seen from this machine."""
    return base_url(*listener.getsockname()[:2])


def base_url(host: str, port: int) -> str:
    """The base URL of a service that listens on this host or address, as seen from this machine."""
    host = _LOOPBACK_OF_ANY.get(host, host).strip("[]")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_many_connections() -> None:
    """Raises the limit of open files as far as the system permits: each connection takes one."""
    # The module is missing on Windows. Some systems permit less than they report.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - as above

        _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
