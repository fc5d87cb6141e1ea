"""Numbers and times as people read them."""

from datetime import UTC, datetime
from typing import Final

from tidegate.core.pricing.price_list import MICRO_USD

__all__ = ["ZONE", "as_cost", "as_count", "as_day", "as_share", "as_time"]

ZONE: Final = "UTC"
_LEAST_MICRO_USD: Final = 50
"""Less is rounded to $0.0000."""
_THOUSAND: Final = 1_000
_FEW: Final = 10_000
"""Smaller numbers are written out."""


def as_cost(micro_usd: int) -> str:
    """US dollars: in cents from a dollar on, else to a hundredth of a cent. What is less is never shown as nothing."""
    if 0 < micro_usd < _LEAST_MICRO_USD:
        return "< $0.0001"
    dollars = micro_usd / MICRO_USD
    return f"${dollars:,.2f}" if dollars >= 1 or micro_usd == 0 else f"${dollars:.4f}"


def as_count(number: int) -> str:
    """A number, in thousands, millions or billions (k, M, G) if it is long."""
    if number < _FEW:
        return f"{number:,}"
    value, unit = float(number), ""
    for unit in ("k", "M", "G"):  # noqa: B007 - the unit that was reached
        value /= _THOUSAND
        if value < _THOUSAND:
            break
    return f"{value:,.1f} {unit}"


def as_share(part: float, whole: float) -> str:
    """A part in percent; a small part does not look like none."""
    share = part / whole if whole else 0.0
    if 0 < share < 0.01:
        return "< 1 %"
    return f"{share:.0%}".replace("%", " %")


def as_time(seconds: int) -> str:
    """A moment, such as 1 Dec 2026, 12:00."""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{as_day(seconds)} {when.year}, {when:%H:%M}"


def as_day(seconds: int) -> str:
    """A day without its year, such as 1 Dec."""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when.day} {when:%b}"
