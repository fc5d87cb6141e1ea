"""Types of settings, with their ranges and conversions."""

import math
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from tidegate.core.domain.pool_settings import LEAST_UNITS

__all__ = [
    "AMOUNT_TEXT",
    "AUTO",
    "BURST_TEXT",
    "COUNT_TEXT",
    "MAX_BURST_SECONDS",
    "MAX_SECONDS",
    "MAX_UNITS",
    "PER_MINUTE_TEXT",
    "TIMEOUT_TEXT",
    "WAIT_TEXT",
    "Amount",
    "AutoAmount",
    "AutoBurst",
    "CallerName",
    "Count",
    "Flag",
    "KeyHash",
    "LogFormat",
    "LogLevel",
    "ModelIds",
    "Networks",
    "PoolName",
    "Port",
    "Seconds",
    "Text",
    "Timeout",
    "UpstreamUrl",
    "number",
]

AUTO: Final = "auto"
"""Value of a limit that follows the upstream's reports."""

MAX_UNITS: Final = 10**9
"""Largest rate per minute, count or number of bytes: far above any real one, and small enough for exact arithmetic."""
MAX_SECONDS: Final = 40 * 86_400
"""Longest timeout or wait: no limit of the upstream lasts longer than a month."""
MAX_BURST_SECONDS: Final = 3_600
"""Largest bucket, in seconds of its rate. Upstream limits are per minute."""


AMOUNT_TEXT: Final = f"a number, {LEAST_UNITS} to {MAX_UNITS:,}"
PER_MINUTE_TEXT: Final = f"{AMOUNT_TEXT}, per minute, or auto"
BURST_TEXT: Final = f"a number of seconds, {LEAST_UNITS} to {MAX_BURST_SECONDS:,}, or auto"
WAIT_TEXT: Final = f"a number of seconds, 0 to {MAX_SECONDS:,}"
TIMEOUT_TEXT: Final = f"a number of seconds above 0, at most {MAX_SECONDS:,}"
COUNT_TEXT: Final = f"a whole number, 1 to {MAX_UNITS:,}"


def number(value: object) -> object:
    """The value, if it is no boolean and not infinite. Raises ValueError otherwise."""
    # pydantic accepts True as 1 and reads 1e400 as infinity; neither is intended.
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("not a number")
    return value


def _amount_or_auto(value: object) -> object:
    return None if value == AUTO else value


def _upstream_url(value: str) -> str:
    parts = urlsplit(value)
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise ValueError("not a plain http or https URL")
    _ = parts.port  # raises ValueError outside 0 to 65535
    parts.hostname.encode("idna")  # raises UnicodeError, a ValueError, where a label is empty or too long
    return value.rstrip("/")


Amount = Annotated[float, Field(ge=LEAST_UNITS, le=MAX_UNITS), BeforeValidator(number)]
"""A rate per minute, or another amount."""

AutoAmount = Annotated[Amount | None, BeforeValidator(_amount_or_auto)]
"""An amount, or None for `auto`."""

AutoBurst = Annotated[
    Annotated[float, Field(ge=LEAST_UNITS, le=MAX_BURST_SECONDS), BeforeValidator(number)] | None,
    BeforeValidator(_amount_or_auto),
]
"""Capacity of a bucket in seconds of its rate, or None for `auto`."""

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS), BeforeValidator(number)]
"""A wait in seconds; 0 is allowed."""

Timeout = Annotated[float, Field(gt=0, le=MAX_SECONDS), BeforeValidator(number)]
"""A timeout in seconds, above 0."""

Count = Annotated[int, Field(ge=1, le=MAX_UNITS), BeforeValidator(number)]
"""A whole number from 1."""

Port = Annotated[int, Field(ge=0, le=65_535), BeforeValidator(number)]
"""A TCP port; 0 lets the system choose a free one."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
"""A name or address."""


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("each once")
    return names


ModelIds = Annotated[tuple[Text, ...], AfterValidator(_distinct)]
"""Ids of models, each once."""

PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""The name of a pool, as in `core/claude/rate_limit_groups.py`."""

CallerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""The name of a caller, valid as a metric label."""

KeyHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a key, as lower-case hex."""

UpstreamUrl = Annotated[str, BeforeValidator(_upstream_url)]
"""An http or https URL without credentials, query or trailing slash."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _flag(value: object) -> object:
    known: dict[object, bool] = {"true": True, "false": False}
    return known.get(_lower(value), value)


Flag = Annotated[bool, Field(strict=True), BeforeValidator(_flag)]
"""A boolean; as text `true` or `false`."""


def _networks(value: object) -> object:
    """Parses a list, or text with commas, of addresses and networks."""
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, Sequence):
        raise ValueError("neither text nor a list")  # noqa: TRY004 - pydantic reports ValueError only
    return tuple(ip_network(str(entry).strip()) for entry in entries if str(entry).strip())


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
"""IP networks; a single address is a network of one."""

LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
"""The lowest level that is logged."""

LogFormat = Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)]
"""The format of log lines."""
