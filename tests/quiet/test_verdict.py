"""What counts as wrong in a run without faults."""

from collections import Counter

from quiet.load import BURST
from quiet.run import Found
from quiet.verdict import report, wrongs

ENDS = Counter({("web: streams", 200): 9, (BURST.name, 429): 3})


def alert(name: str, severity: str, state: str) -> tuple[tuple[str, str], ...]:
    return (("alertname", name), ("alertstate", state), ("severity", severity))


def test_alerts_that_fire_or_are_about_to_page_are_wrong() -> None:
    alerts = {
        alert("Watchdog", "none", "firing"): 60.0,
        alert("Slow", "warning", "pending"): 60.0,
        alert("Late", "warning", "firing"): 45.0,
        alert("Down", "critical", "pending"): 15.0,
        alert("Busy", "warning", "firing"): 15.0,
    }
    assert wrongs(Found(ENDS, alerts, {"Down"}), {"Busy"}) == [
        "Down has paged.",
        "Down, which pages, was pending for 15 s.",
        "Late was firing for 45 s.",
    ]
    assert sum("pending" in line for line in report(Found(ENDS, alerts, set()))) == 2


def test_a_load_without_refusals_or_with_failures_is_wrong() -> None:
    assert wrongs(Found(ENDS, {}, set())) == []
    (wrong,) = wrongs(Found(Counter({("web: streams", 0): 1, (BURST.name, 429): 1}), {}, set()))
    assert "web: streams" in wrong
    assert len(wrongs(Found(Counter(), {}, set()))) == 1
