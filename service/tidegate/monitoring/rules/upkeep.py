"""Alerts on what an operator must mend: nothing fails yet because of it."""

from typing import Final

from tidegate.monitoring.dashboards.links import OVERVIEW
from tidegate.monitoring.rules.rule import Alert, duration
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["UPKEEP"]

UPKEEP: Final = (
    Alert(
        name="TidegateReloadRefused",
        severity="warning",
        expr=f"max by (job, instance) ({catalogue.RELOAD_REFUSED.name}) > 0",
        for_seconds=60,
        summary="A reload of the configuration was refused.",
        description=(
            "{{ $labels.instance }} goes on with its old configuration, because the new one is invalid. A restart "
            "would fail. The log names the field."
        ),
        dashboard=OVERVIEW,
        by=("instance",),
    ),
    Alert(
        name="TidegateStateUnreadable",
        severity="warning",
        expr=f"max by (job, instance) ({catalogue.STATE_UNREADABLE.name}) > 0",
        for_seconds=0,
        summary="The saved state could not be read.",
        description=(
            "{{ $labels.instance }} has started without its saved state: it learns limits again, and changes at run "
            "time are lost. The log names the file that was set aside."
        ),
        dashboard=OVERVIEW,
        by=("instance",),
    ),
    Alert(
        name="TidegateKeyExpires",
        severity="warning",
        expr=f"min by (job) ({catalogue.KEY_ENDS.name}) < {thresholds.KEY_ENDS_SECONDS}",
        for_seconds=0,
        summary="A key of a caller expires soon.",
        description=(
            "The next key of the ledger expires in {{ $value | humanizeDuration }} (threshold: "
            f"{duration(thresholds.KEY_ENDS_SECONDS)}). Then calls with it are refused."
        ),
        dashboard=OVERVIEW,
    ),
)
"""The alerts, for the group of the service."""
