"""Listening sockets from systemd, and those that are bound."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.cli.process.listeners import (
    MAIN,
    METRICS,
    at_addresses_of,
    at_configured_addresses,
    listening,
    sockets_from_systemd,
)
from tidegate.core.domain.errors import ConfigurationError
from tidegate.identity.access import AccessRules
from tidegate.settings import Settings


@contextlib.contextmanager
def descriptors(*sockets: socket.socket) -> Iterator[int]:
    """Puts the sockets at consecutive descriptors that can be inherited. Yields the first."""
    first = 200
    for index, each in enumerate(sockets):
        os.dup2(each.fileno(), first + index)
    try:
        yield first
    finally:
        for index, each in enumerate(sockets):
            with contextlib.suppress(OSError):
                os.close(first + index)
            each.close()


def tcp(host: str = "127.0.0.1", family: int = socket.AF_INET, *, listens: bool = True) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind((host, 0))
    if listens:
        made.listen()
    return made


def unix() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(Path(tempfile.mkdtemp()) / "socket"))
    made.listen()
    return made


def variables(count: object, names: str | None = None, process: int | None = None) -> dict[str, str]:
    given = {"LISTEN_FDS": str(count), "LISTEN_PID": str(process or os.getpid())}
    return given if names is None else {**given, "LISTEN_FDNAMES": names}


@pytest.mark.parametrize("names", ["tidegate.socket:metrics", "metrics:tidegate.socket", "main:metrics"])
def test_sockets_are_told_apart_by_name(names: str) -> None:
    sockets = [tcp(), tcp()]
    ports = {name: each.getsockname()[1] for name, each in zip(names.split(":"), sockets, strict=True)}
    environ = {**variables(2, names), "HOME": "/"}
    with descriptors(*sockets) as first:
        found = sockets_from_systemd(environ, first)
        assert environ == {"HOME": "/"}
        assert found[METRICS].getsockname()[1] == ports["metrics"]
        assert found[MAIN].getsockname()[1] != ports["metrics"]
        assert not any(each.get_inheritable() for each in found.values())
        for each in found.values():
            each.close()


@pytest.mark.parametrize("names", [None, "tidegate.socket", "", "connection"])
def test_one_socket_serves_everything_whatever_its_name(names: str | None) -> None:
    with descriptors(tcp()) as first:
        found = sockets_from_systemd(variables(1, names), first)
        assert [*found] == [MAIN]
        found[MAIN].close()


@pytest.mark.parametrize("environ", [{}, variables(1, process=1)])
def test_sockets_for_another_process_are_left_alone(environ: dict[str, str]) -> None:
    assert sockets_from_systemd(environ) == {}
    assert environ == {}


def test_sockets_that_cannot_be_used_are_refused() -> None:
    cases = [
        ([tcp(), tcp()], None),
        ([tcp(), tcp()], "metrics:metrics"),
        ([tcp()], "metrics"),
        ([tcp(listens=False)], None),
        ([unix()], None),
        ([socket.socket(socket.AF_INET, socket.SOCK_DGRAM)], None),
    ]
    for sockets, names in cases:
        with (
            descriptors(*sockets) as first,
            pytest.raises(ConfigurationError, match="allowed is one listening TCP socket"),
        ):
            sockets_from_systemd(variables(len(sockets), names), first)
    with pytest.raises(ConfigurationError, match="allowed is one listening TCP socket"):
        sockets_from_systemd(variables(1), 250)  # no descriptor
    with pytest.raises(ConfigurationError, match="LISTEN_FDS: got 'x', allowed is the number of sockets"):
        sockets_from_systemd(variables("x"))


def test_the_access_rules_judge_the_address_that_is_really_listened_on() -> None:
    with tcp("0.0.0.0") as everywhere, tcp() as metrics:  # noqa: S104 - the address matters
        settings = at_addresses_of({MAIN: everywhere, METRICS: metrics}, Settings)()
        assert (settings.port, settings.metrics_port) == (everywhere.getsockname()[1], metrics.getsockname()[1])
        with pytest.raises(ConfigurationError, match="TIDEGATE_HOST"):
            AccessRules.of(settings).check_bind(settings.host)
        AccessRules.for_metrics(settings)
    assert at_addresses_of({}, Settings)() == Settings()


def test_inherited_sockets_are_used_and_others_bound() -> None:
    settings = Settings(port=0, metrics_port=0)
    with tcp() as inherited:
        port = inherited.getsockname()[1]
        with listening(settings, {MAIN: inherited}) as sockets:
            assert sockets[MAIN].getsockname()[1] == port
            assert sockets[METRICS].getsockname()[1] not in {0, port}
    with listening(Settings(port=0), {}) as sockets:
        assert [*sockets] == [MAIN]


@pytest.mark.parametrize(
    ("host", "is_any_port", "is_kept"),
    [
        ("127.0.0.1", False, True),
        ("localhost", False, True),
        ("127.0.0.1", True, True),
        ("127.0.0.2", False, False),
        ("no-such-host.invalid", False, False),
    ],
)
def test_a_socket_of_another_process_is_kept_while_its_address_is_configured(
    host: str,
    is_any_port: bool,  # noqa: FBT001
    is_kept: bool,  # noqa: FBT001
) -> None:
    with tcp() as main, tcp() as metrics:
        port = 0 if is_any_port else main.getsockname()[1]
        inherited = {MAIN: main, METRICS: metrics}
        with_metrics = Settings(host=host, port=port, metrics_host="127.0.0.1", metrics_port=0)
        kept = at_configured_addresses(with_metrics, inherited)
        assert kept == (inherited if is_kept else {METRICS: metrics})
        assert (main.fileno() != -1) is is_kept


def test_a_socket_whose_port_or_purpose_is_not_configured_any_more_is_closed() -> None:
    with tcp() as main, tcp() as metrics:
        other_port = main.getsockname()[1] % 60_000 + 1
        assert at_configured_addresses(Settings(port=other_port), {MAIN: main, METRICS: metrics}) == {}
        assert main.fileno() == metrics.fileno() == -1
