"""Checks that durations and schedules make sense."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from tidegate.generation.dsl.findings import Finding, shown
from tidegate.generation.dsl.parts import Part

__all__ = ["check_times"]

_DURATIONS: Final = frozenset({"DurationInline", "DurationExpression", "DurationLiteral"})
"""Titles of durations in the schema. Up to DSL 1.0.0, `DurationExpression` is the ISO 8601 form."""

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
"""The five fields of crontab(5): name, lowest and highest number, and names for the numbers from the lowest on."""


def check_times(parts: Sequence[Part]) -> Iterator[Finding]:
    """Yields a finding per negative or non-standard duration, and for a schedule that never starts the workflow."""
    for part in parts:
        for path, title, value in part.places:
            if title in _DURATIONS:
                yield from _check_duration(value, path)
    schedule = parts[0].value.get("schedule")
    if schedule is None:
        return
    if not schedule:
        yield Finding("/schedule", "must have at least one of: every, cron, after, on")
    if "cron" in schedule:
        yield from _check_cron(schedule["cron"])


def _check_duration(duration: str | dict[str, int], path: str) -> Iterator[Finding]:
    if isinstance(duration, dict):
        for name, number in duration.items():
            if number < 0:
                yield Finding(f"{path}/{name}", f"must be at least 0, not {number}")
    elif duration.startswith("P"):
        yield from _check_iso_8601(duration, path)


def _check_iso_8601(text: str, path: str) -> Iterator[Finding]:
    """Checks what the schema's pattern does not: weeks stand alone, and only the last part has a fraction."""
    parts = re.findall(r"([0-9.]+)([YMWDHS])", text)
    if len(parts) > 1 and any(unit == "W" for _, unit in parts):
        yield Finding(path, f"must be an ISO 8601 duration, which has weeks (W) alone, not {shown(text)}")
    if any("." in number for number, _ in parts[:-1]):
        yield Finding(path, f"must be an ISO 8601 duration, with a fraction in its last part only, not {shown(text)}")


def _check_cron(text: str) -> Iterator[Finding]:
    values = text.split()
    if len(values) != len(_CRON_FIELDS):
        in_words = ", ".join(name for name, *_ in _CRON_FIELDS)
        yield Finding("/schedule/cron", f"must be five fields ({in_words}), such as 0 9 * * 1-5, not {shown(text)}")
        return
    for value, (name, low, high, names) in zip(values, _CRON_FIELDS, strict=True):
        if not all(_is_cron_item(item, low, high, names) for item in value.split(",")):
            allowed = f"numbers from {low} to {high}" + (f" or names such as {names[0]}" if names else "")
            yield Finding("/schedule/cron", f"has {shown(value)} as {name}; allowed: *, {allowed}, with - , and /")


def _is_cron_item(item: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    span, slash, step = item.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span == "*":
        return True
    numbers = [_cron_number(end, low, names) for end in span.split("-")]
    known = [number for number in numbers if number is not None and low <= number <= high]
    return len(known) == len(numbers) <= 2 and known == sorted(known)


def _cron_number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if text.upper() in names:
        return names.index(text.upper()) + low
    return int(text) if text.isdecimal() else None
