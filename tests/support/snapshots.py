"""Snapshots of pools."""

from tidegate.core.domain.caller import Priority
from tidegate.core.domain.snapshots import ClassSnapshot, DimensionSnapshot, PoolSnapshot


def idle_pool(name: str, *dimensions: DimensionSnapshot) -> PoolSnapshot:
    """The snapshot of an unused pool; use `dataclasses.replace` for others."""
    return PoolSnapshot(
        pool=name,
        dimensions=dimensions,
        adaptive_factor=1.0,
        frozen_seconds=0.0,
        probing=False,
        waiting=0,
        classes={str(priority): ClassSnapshot() for priority in Priority},
        in_flight=0,
        oldest_lease_seconds=None,
        granted=0,
        rate_limited=0,
        succeeded=0,
    )
