"""What a setting is besides its type: where it is read from, what it may be, what it means."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, StringConstraints

from tidegate.core.domain.pool_settings import LEAST_UNITS

__all__ = [
    "AUTO",
    "MOST_BURST_SECONDS",
    "MOST_SECONDS",
    "MOST_UNITS",
    "Amount",
    "AutoAmount",
    "AutoBurst",
    "CallerName",
    "Count",
    "Documented",
    "Flag",
    "KeyHash",
    "LogFormat",
    "LogLevel",
    "Networks",
    "PoolName",
    "Port",
    "Seconds",
    "StoreUrl",
    "Text",
    "Timeout",
    "UpstreamUrl",
]

AUTO: Final = "auto"
"""The value of a limit that is left to what the upstream reports."""

MOST_UNITS: Final = 10**9
"""Largest rate per minute, count or number of bytes: far above any real one, far below what arithmetic loses."""
MOST_SECONDS: Final = 40 * 86_400
"""Longest time limit and wait: no limit of the upstream lasts longer than a month."""
MOST_BURST_SECONDS: Final = 3_600
"""Largest bucket, in seconds of its rate: upstream limits are per minute."""


@dataclass(frozen=True, slots=True)
class Documented:
    """Stands in the annotation of every setting; error messages, `check` and the README's table are made from it.

    Attributes:
        env: the environment variable that sets it; None for what only the file can hold.
        allowed: what it may be, in words, unit included.
        meaning: what it does, in one sentence.
    """

    env: str | None
    allowed: str
    meaning: str


def _number(value: object) -> object:
    # pydantic takes True for 1 and 1e400 for infinity; neither is a number that somebody meant.
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


Amount = Annotated[float, Field(ge=LEAST_UNITS, le=MOST_UNITS), BeforeValidator(_number)]
"""A rate per minute or another amount."""

AutoAmount = Annotated[Amount | None, BeforeValidator(_amount_or_auto)]
"""An amount; None where `auto` was written."""

AutoBurst = Annotated[
    Annotated[float, Field(ge=LEAST_UNITS, le=MOST_BURST_SECONDS), BeforeValidator(_number)] | None,
    BeforeValidator(_amount_or_auto),
]
"""How many seconds of its rate a bucket holds; None where `auto` was written."""

Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS), BeforeValidator(_number)]
"""A wait."""

Timeout = Annotated[float, Field(gt=0, le=MOST_SECONDS), BeforeValidator(_number)]
"""A time limit, in seconds."""

Count = Annotated[int, Field(ge=1, le=MOST_UNITS), BeforeValidator(_number)]
"""A whole number from 1."""

Port = Annotated[int, Field(ge=0, le=65_535), BeforeValidator(_number)]
"""A TCP port; 0 lets the system choose a free one."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
"""A name or address."""

PoolName = Annotated[str, StringConstraints(pattern=re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$"))]
"""The name of a pool, as `core.pools` forms it."""

CallerName = Annotated[str, StringConstraints(pattern=re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))]
"""The name of a caller, fit for a metric label."""

KeyHash = Annotated[str, StringConstraints(pattern=re.compile(r"^[0-9a-f]{64}$"))]
"""SHA-256 of a key, as lower-case hex."""

UpstreamUrl = Annotated[str, BeforeValidator(_upstream_url)]
"""An http or https URL without credentials, query and trailing slash."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _flag(value: object) -> object:
    known: dict[object, bool] = {"true": True, "false": False}
    return known.get(_lower(value), value)


Flag = Annotated[bool, Field(strict=True), BeforeValidator(_flag)]
"""Whether something is so; as text `true` or `false`."""


def _networks(value: object) -> object:
    """Text is a list of addresses and networks, separated by commas."""
    entries = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, Sequence):
        raise ValueError("neither text nor a list")  # noqa: TRY004 - pydantic reports ValueError only
    return tuple(ip_network(str(entry).strip()) for entry in entries if str(entry).strip())


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
"""IP networks; a single address is a network of one."""

LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
"""The least level that is logged."""

LogFormat = Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)]
"""How a log line looks."""

StoreUrl = Literal["memory://"]
"""Where shared state lives."""
