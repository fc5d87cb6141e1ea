"""Log lines for circuits that open and close."""

import logging

from tidegate.core.domain.events import CircuitClosed, CircuitOpened
from tidegate.core.domain.nanoseconds import to_seconds

__all__ = ["log_circuit_closed", "log_circuit_opened"]

logger = logging.getLogger("tidegate.circuits")


def log_circuit_opened(event: CircuitOpened) -> None:
    """Logs at WARNING why a pool sends only probes, and when that ends if the upstream has said so."""
    if event.closes_in_ns is None:
        until = "until a probe succeeds"
    else:
        until = f"until a probe succeeds, or for {to_seconds(event.closes_in_ns):,.0f} s"
    logger.warning("circuit open (pool %s; cause %s): only probes are sent %s", event.pool, event.cause, until)


def log_circuit_closed(event: CircuitClosed) -> None:
    """Logs at INFO that a cause is over."""
    logger.info("circuit closed (pool %s; cause %s)", event.pool, event.cause)
