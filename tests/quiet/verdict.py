"""What a run found, as a table, and what of it is wrong."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from quiet.load import BURST
from quiet.run import Found

__all__ = ["report", "wrongs"]

_ALWAYS: Final = "Watchdog"
_HIDDEN: Final = {"__name__", "alertname", "alertstate", "severity", "job"}
_REFUSED: Final = 429
_FAILED: Final = 500


def report(found: Found) -> Iterator[str]:
    """Lines of a table of calls and of one of alerts."""
    yield "calls                          status  number"
    yield from (f"{name:<32}{status:>5}{number:>8,}" for (name, status), number in sorted(found.ends.items()))
    yield "alert                          severity   state     seconds  labels"
    for labels, seconds in sorted(_alerts(found)):
        named = dict(labels)
        others = ", ".join(f"{name}={value}" for name, value in labels if name not in _HIDDEN)
        yield (f"{named['alertname']:<30} {named['severity']:<10} {named['alertstate']:<8}{seconds:>9,.0f}  {others}")


def wrongs(found: Found, allowed: AbstractSet[str] = frozenset()) -> list[str]:
    """What is wrong, in a sentence each: alerts that fired or were about to page, and a load that was not as meant."""
    wrong = [f"{name} has paged." for name in sorted(found.paged)]
    for labels, seconds in sorted(_alerts(found)):
        named = dict(labels)
        if named["alertname"] in allowed:
            continue
        if named["alertstate"] == "firing":
            wrong.append(f"{named['alertname']} was firing for {seconds:.0f} s.")
        elif named["severity"] == "critical":
            wrong.append(f"{named['alertname']}, which pages, was pending for {seconds:.0f} s.")
    if not found.ends[BURST.name, _REFUSED]:
        wrong.append("The load is not as meant: no call beyond a caller's own limit was refused.")
    if failed := {name: number for (name, status), number in found.ends.items() if status == 0 or status >= _FAILED}:
        wrong.append(f"The load is not as meant: calls failed: {failed}.")
    return wrong


def _alerts(found: Found) -> list[tuple[tuple[tuple[str, str], ...], float]]:
    return [(labels, seconds) for labels, seconds in found.alerts.items() if dict(labels)["alertname"] != _ALWAYS]
