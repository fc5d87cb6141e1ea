"""Queries for reports of usage, and the reports as JSON and as CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.time_span import moment
from tidegate.core.ports.usage_sink import SessionUsage, UsageGroup, UsageQuery, UsageReport
from tidegate.core.pricing.price_list import MICRO_USD

__all__ = ["GROUPINGS", "WAIT_NAMES", "as_csv", "as_json", "shown_group", "shown_session", "usage_query"]

GROUPINGS: Final = ("team", "caller", "model", "pool", "class", "hour", "day")
"""The properties by which usage can be grouped."""
_MAX_GROUPINGS: Final = 3
WAIT_NAMES: Final = ("0.1", "1", "10", "60", "600", "longer")
"""The longest wait of each bucket, in seconds."""
_COUNTS: Final = ("calls", "refused", "failed")
_TOKENS: Final = ("input", "output", "cache_read", "cache_creation")


def usage_query(
    by: str, since: str, until: str | None, now: float, *, caller: str | None = None, prefix: str = ""
) -> UsageQuery:
    """The query for texts as a user writes them.

    Args:
        by: names of groupings, separated by commas.
        since: the beginning, as `moment` allows.
        until: the end, likewise; None: now.
        now: the time, in seconds since 1970-01-01 UTC.
        caller: the only caller to report; None: all.
        prefix: what precedes the names of the texts in errors.

    Raises:
        ConfigurationError: a text is not allowed, or the beginning is not before the end.
    """
    names = tuple(by.split(","))
    if not set(names) <= set(GROUPINGS) or len(set(names)) < len(names) or len(names) > _MAX_GROUPINGS:
        allowed = f"one to {_MAX_GROUPINGS} of {', '.join(GROUPINGS)}, separated by commas"
        raise ConfigurationError(f"{prefix}by", by, allowed)
    begin = moment(f"{prefix}since", since, now)
    end = int(now) + 1 if until is None else moment(f"{prefix}until", until, now)
    if begin >= end:
        raise ConfigurationError(f"{prefix}since", since, "a time before the end")
    return UsageQuery(begin, end, names, caller)


def as_json(query: UsageQuery, report: UsageReport) -> dict[str, Any]:
    """The report as an object."""
    return {
        "since": _time(query.since),
        "until": _time(query.until),
        "by": list(query.by),
        "groups": [{**shown_group(group), **_sums(group)} for group in report.groups],
        "total": _sums(report.total),
    }


def as_csv(query: UsageQuery, report: UsageReport) -> str:
    """The report as a table with a head, one line per group."""
    causes = sorted(report.total.refusals)
    head = [
        *query.by,
        *_COUNTS,
        *(f"{kind}_tokens" for kind in _TOKENS),
        *("cost_usd", "unpriced_tokens", "cache_share"),
        *(f"waited_{name}" for name in WAIT_NAMES),
        *(f"refused_{cause}" for cause in causes),
    ]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(_line(group, causes) for group in report.groups)
    return text.getvalue()


def shown_group(group: UsageGroup) -> dict[str, str]:
    """The values of the grouping columns as texts; times in ISO 8601."""
    return {name: _time(value) if isinstance(value, int) else value for name, value in group.group.items()}


def shown_session(session: SessionUsage) -> dict[str, Any]:
    """A session as an object."""
    return {
        "session": session.session,
        "caller": session.caller,
        "team": session.team,
        "first_at": _time(session.first_at),
        "last_at": _time(session.last_at),
        "answers": session.answers,
        "tokens": {kind: getattr(session, f"{kind}_tokens") for kind in _TOKENS},
        "cost_usd": session.cost_micro_usd / MICRO_USD,
    }


def _sums(group: UsageGroup) -> dict[str, Any]:
    return {
        **{name: getattr(group, name) for name in _COUNTS},
        "tokens": {kind: getattr(group, f"{kind}_tokens") for kind in _TOKENS},
        "cost_usd": group.cost_micro_usd / MICRO_USD,
        "unpriced_tokens": group.unpriced_tokens,
        "cache_share": round(group.cache_share, 4),
        "waits": dict(zip(WAIT_NAMES, group.waits, strict=True)),
        "refusals": group.refusals,
    }


def _line(group: UsageGroup, causes: Sequence[str]) -> list[object]:
    return [
        *map(_cell, shown_group(group).values()),
        *(getattr(group, name) for name in _COUNTS),
        *(getattr(group, f"{kind}_tokens") for kind in _TOKENS),
        f"{group.cost_micro_usd / MICRO_USD:.6f}",
        group.unpriced_tokens,
        round(group.cache_share, 4),
        *group.waits,
        *(group.refusals.get(cause, 0) for cause in causes),
    ]


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
