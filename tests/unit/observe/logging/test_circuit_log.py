"""Circuits that open and close are logged with their pool, cause and end."""

import logging

import pytest

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import CircuitClosed, CircuitOpened
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.observe.logging.circuit_log import log_circuit_closed, log_circuit_opened


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            CircuitOpened("p", Cause.UPSTREAM_OUTAGE, None),
            "circuit open (pool p; cause upstream_outage): only probes are sent until a probe succeeds",
        ),
        (
            CircuitOpened("p", Cause.SPEND_CAP, 3_600 * NS_PER_SECOND),
            "circuit open (pool p; cause spend_cap): only probes are sent until a probe succeeds, or for 3,600 s",
        ),
    ],
)
def test_an_open_circuit_is_a_warning(event: CircuitOpened, text: str, caplog: pytest.LogCaptureFixture) -> None:
    log_circuit_opened(event)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.WARNING, text)]


def test_a_closed_circuit_is_information(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tidegate.circuits"):
        log_circuit_closed(CircuitClosed("p", Cause.SPEND_CAP))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, "circuit closed (pool p; cause spend_cap)")
    ]
