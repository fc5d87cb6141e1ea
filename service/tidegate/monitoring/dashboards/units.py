"""Units and colours of all dashboards."""

from typing import Final

from tidegate.core.domain.caller import Priority
from tidegate.core.domain.cause import Cause

SECONDS: Final = "s"
SHARE: Final = "percentunit"
PER_SECOND: Final = "reqps"
PER_MINUTE: Final = "suffix:/min"
COUNT: Final = "short"
EXACT_COUNT: Final = "locale"
RATIO: Final = "none"
BYTES: Final = "bytes"
DOLLARS: Final = "currencyUSD"
TOKENS_PER_MINUTE: Final = "si:/min"

GOOD: Final = "green"
NEUTRAL: Final = "blue"
WARNING: Final = "orange"
CRITICAL: Final = "red"
UNKNOWN: Final = "text"
"""Neither good nor bad."""
IDLE: Final = "#8e8e8e"
"""Bars of a time without calls: grey in both themes, where text is black or white."""
LIMITED: Final = "purple"
"""429s of the upstream."""
OVERLOADED: Final = "dark-red"
"""529s of the upstream."""
FAILED: Final = "red"
"""Other failures of the upstream."""
FAILURES: Final = {
    "429": LIMITED,
    "529": OVERLOADED,
    "500": FAILED,
    "501": "semi-dark-red",
    "502": "light-red",
    "503": "super-light-red",
    "504": "light-orange",
    "5xx": "dark-orange",
    "error": WARNING,
}
"""Failed attempts by status."""
REFUSED: Final = "orange"
"""Refusals by Tidegate."""
CAUSES: Final[dict[str, str]] = {
    Cause.DEADLINE: "orange",
    Cause.QUEUE_FULL: "dark-orange",
    Cause.CALLER_LIMIT: "yellow",
    Cause.BUDGET: "dark-yellow",
    Cause.COST_EXCEEDS_CAPACITY: "light-orange",
    Cause.SPEND_CAP: "dark-purple",
    Cause.PAUSED: "purple",
    Cause.UPSTREAM_CREDENTIALS: "semi-dark-red",
    Cause.UPSTREAM_OUTAGE: OVERLOADED,
    Cause.STORE_UNAVAILABLE: "red",
    Cause.LEDGER_UNAVAILABLE: "light-red",
    Cause.DRAINING: "light-blue",
    Cause.LOOP: "dark-blue",
    Cause.UNAUTHENTICATED: "blue",
    Cause.FORBIDDEN: "semi-dark-blue",
}
"""Refusals by cause, never green: lack of quota is yellow to orange, the upstream red, the caller blue."""
OUTCOMES: Final = {
    "ok": GOOD,
    "refused": REFUSED,
    "upstream_error": FAILED,
    "rate_limited": LIMITED,
    "deadline": "yellow",
    "client_error": NEUTRAL,
    "abandoned": UNKNOWN,
}
"""Outcomes of calls."""
WORKFLOW_OUTCOMES: Final = {
    "ok": GOOD,
    "repaired": "yellow",
    "invalid": WARNING,
    "truncated": "dark-orange",
    "refused": LIMITED,
    "failed": FAILED,
}
"""Outcomes of workflow generations."""
CLASSES: Final[dict[str, str]] = {
    Priority.INTERACTIVE: "blue",
    Priority.STANDARD: "green",
    Priority.BATCH: "dark-yellow",
}
"""Priority classes."""
RETRIES: Final = {
    "rate_limited": LIMITED,
    "overloaded": OVERLOADED,
    "server_error": FAILED,
    "timeout": "orange",
    "connection": "yellow",
}
"""Retries by reason, in the colours of the failures."""
DIMENSIONS: Final = {
    "/ requests$/": "purple",
    "/ input_tokens$/": "blue",
    "/ output_tokens$/": "yellow",
    "/ acceleration$/": "orange",
    "/ unknown$/": UNKNOWN,
}
"""429s by exhausted dimension, for series whose name ends with it."""
