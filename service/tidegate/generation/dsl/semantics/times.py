"""Whether durations and schedules make sense."""

import re
from collections.abc import Iterator

from tidegate.generation.dsl.durations import InlineDuration
from tidegate.generation.dsl.findings import Finding, shown
from tidegate.generation.dsl.marks import Holds
from tidegate.generation.dsl.semantics.walk import walk
from tidegate.generation.dsl.workflow import Workflow

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
"""Name, lowest and highest number, and names for numbers from the lowest on: the five fields of crontab(5)."""


def check_times(workflow: Workflow) -> Iterator[Finding]:
    """Yield a finding for each negative or non-standard duration and each schedule that never starts anything."""
    for place in walk(workflow):
        if isinstance(place.value, InlineDuration):
            for name in place.value.model_fields_set:
                number = getattr(place.value, name)
                if number < 0:
                    yield Finding(f"{place.path}/{name}", f"must be at least 0, not {number}")
        elif isinstance(place.value, str) and Holds.DURATION in place.marks:
            yield from _check_iso_8601(place.value, place.path)
    schedule = workflow.schedule
    if schedule is None:
        return
    if not schedule.model_fields_set:
        yield Finding("/schedule", "must have at least one of: every, cron, after, on")
    if schedule.cron is not None:
        yield from _check_cron(schedule.cron)


def _check_iso_8601(text: str, path: str) -> Iterator[Finding]:
    """Check what the schema's pattern lets pass: ISO 8601 has weeks alone, and a fraction in the last part only."""
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
