"""The listening sockets of the service: passed by systemd or by the process before this one, or bound here."""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Final

from tidegate.core.domain.errors import ConfigurationError
from tidegate.http.server.listener import bind, url_of
from tidegate.settings import Settings

__all__ = ["MAIN", "METRICS", "at_addresses_of", "at_configured_addresses", "listening", "sockets_from_systemd"]

logger = logging.getLogger("tidegate.service")

MAIN: Final = "main"
METRICS: Final = "metrics"
"""Names of sockets. `FileDescriptorName=metrics` in a socket unit means the second."""
_FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
_ALLOWED: Final = "one listening TCP socket (ListenStream=), and at most one more with FileDescriptorName=metrics"


def sockets_from_systemd(
    environ: MutableMapping[str, str], first_descriptor: int = _FIRST_DESCRIPTOR
) -> dict[str, socket.socket]:
    """The listening sockets that systemd has passed, by name: see sd_listen_fds(3).

    Takes systemd's variables out of the environment, and lets no child process inherit the sockets.

    Raises:
        ConfigurationError: a socket is not a listening TCP socket, or two have the same purpose.
    """
    process, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if process != str(os.getpid()):
        return {}
    if not count.isdecimal():
        raise ConfigurationError("LISTEN_FDS", count, "the number of sockets that systemd passes")
    found: dict[str, socket.socket] = {}
    with contextlib.ExitStack() as unless_refused:
        for index in range(int(count)):
            inherited = unless_refused.enter_context(_open(first_descriptor + index, count))
            name = METRICS if names[index : index + 1] == [METRICS] else MAIN
            if name in found or not _is_listening_on_tcp(inherited):
                raise ConfigurationError("LISTEN_FDS", count, _ALLOWED)
            inherited.set_inheritable(False)
            found[name] = inherited
        if METRICS in found and MAIN not in found:
            raise ConfigurationError("LISTEN_FDS", count, _ALLOWED)
        unless_refused.pop_all()
    return found


def at_addresses_of(sockets: Mapping[str, socket.socket], load: Callable[[], Settings]) -> Callable[[], Settings]:
    """A function that loads the settings with the addresses of these sockets in place of the configured ones.

    So the access rules judge the addresses that the service really listens on.
    """
    addresses: dict[str, Any] = {}
    for name, prefix in ((MAIN, ""), (METRICS, "metrics_")):
        if name in sockets:
            host, port = sockets[name].getsockname()[:2]
            addresses |= {f"{prefix}host": host, f"{prefix}port": port}
    return lambda: load().model_copy(update=addresses)


@contextlib.contextmanager
def listening(settings: Settings, inherited: Mapping[str, socket.socket]) -> Iterator[dict[str, socket.socket]]:
    """The listening sockets by name, inherited or bound as the settings say. There may be none for metrics.

    Raises:
        ConfigurationError: an address is not available.
    """
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(inherited[name]) for name in inherited}
        if MAIN not in sockets:
            sockets[MAIN] = stack.enter_context(bind(settings.host, settings.port, "TIDEGATE_HOST", "TIDEGATE_PORT"))
        if METRICS not in sockets and settings.metrics_port is not None:
            host, variables = settings.metrics_host or settings.host, ("TIDEGATE_METRICS_HOST", "TIDEGATE_METRICS_PORT")
            sockets[METRICS] = stack.enter_context(bind(host, settings.metrics_port, *variables))
        yield sockets


def at_configured_addresses(settings: Settings, inherited: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
    """The inherited sockets that listen where the settings say. Closes the others."""
    places = {MAIN: (settings.host, settings.port)}
    if settings.metrics_port is not None:
        places[METRICS] = settings.metrics_host or settings.host, settings.metrics_port
    kept = {name: each for name, each in inherited.items() if name in places and _listens_at(each, *places[name])}
    for name, each in inherited.items():
        if name not in kept:
            logger.warning("no longer listening on %s: the configuration names another %s address", url_of(each), name)
            each.close()
    return kept


def _listens_at(listener: socket.socket, host: str, port: int) -> bool:
    known_host, known_port = listener.getsockname()[:2]
    if port not in {0, known_port}:  # 0: any free port
        return False
    try:
        found = socket.getaddrinfo(host, known_port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return known_host in {address[0] for *_, address in found}


def _open(descriptor: int, count: str) -> socket.socket:
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        raise ConfigurationError("LISTEN_FDS", count, _ALLOWED) from None


def _is_listening_on_tcp(inherited: socket.socket) -> bool:
    is_tcp = inherited.family in {socket.AF_INET, socket.AF_INET6} and inherited.type == socket.SOCK_STREAM
    return is_tcp and inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
