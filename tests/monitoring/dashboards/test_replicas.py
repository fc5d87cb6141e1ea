"""Panels are true of all replicas together, however many there are, and whether or not they share a store."""

from pathlib import Path

import pytest

from support.prometheus import as_asked
from support.promtool import Samples, check_values
from tidegate.monitoring.dashboards.boards import BOARDS
from tidegate.monitoring.dashboards.queries import limit_used, shared
from tidegate.observe.metrics import catalogue

(FULLEST,) = (
    panel.queries[0].expr for board in BOARDS for panel in board.panels if panel.title == "Fullest limit of each pool"
)
IN_FLIGHT = shared(catalogue.IN_FLIGHT, "pool")
WHOLE, USED, OPEN = 600, 490, 20
"""The limit per minute, its use, and the open leases of all replicas together."""


def series(replicas: int, *, store: bool, limits: str, job: str = "tidegate") -> dict[str, str]:
    """What replicas export. `limits` is `configured` (each has a part of the whole) or `upstream` (each knows it)."""
    found = {}
    for number in range(replicas):
        labels = f'job="{job}",instance="{number}",pool="p"'
        own = WHOLE if store or limits == "upstream" else WHOLE // replicas
        found[f'tidegate_quota_charged_total{{{labels},dimension="requests"}}'] = f"0+{USED / replicas}x60"
        found[f'tidegate_limit_per_minute{{{labels},dimension="requests",source="effective"}}'] = f"{own}x60"
        if limits == "upstream":
            found[f'tidegate_limit_per_minute{{{labels},dimension="requests",source="upstream"}}'] = f"{WHOLE}x60"
        found[f"tidegate_in_flight{{{labels}}}"] = f"{OPEN if store else OPEN // replicas}x60"
        if store:
            found[f'tidegate_degraded{{job="{job}",instance="{number}"}}'] = "0x60"
    return found


def test_the_use_of_one_job_is_not_divided_by_the_limit_of_another(tmp_path: Path) -> None:
    one = series(1, store=True, limits="configured")
    both = one | {name.replace('job="tidegate"', 'job="other"'): values for name, values in one.items()}
    used = {f"round({as_asked(limit_used('pool'))}, 0.001)": [('{pool="p"}', round(USED / WHOLE, 3))]}
    check_values(tmp_path, both, used, at="30m")


@pytest.mark.parametrize("limits", ["configured", "upstream"])
@pytest.mark.parametrize("store", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_the_fullest_limit_and_the_calls_in_flight_are_true(
    replicas: int, limits: str, tmp_path: Path, *, store: bool
) -> None:
    expected: dict[str, Samples] = {
        f"round({as_asked(FULLEST)}, 0.001)": [('{pool="p"}', round(USED / WHOLE, 3))],
        as_asked(IN_FLIGHT): [('{pool="p"}', OPEN)],
    }
    check_values(tmp_path, series(replicas, store=store, limits=limits), expected, at="30m")


def test_the_use_of_two_jobs_is_not_added_up(tmp_path: Path) -> None:
    jobs = series(2, store=True, limits="configured") | series(1, store=True, limits="configured", job="other")
    check_values(tmp_path, jobs, {f"round({as_asked(FULLEST)}, 0.001)": [('{pool="p"}', round(USED / WHOLE, 3))]})
