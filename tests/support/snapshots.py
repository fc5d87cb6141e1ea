"""Snapshots of pools, and states of a shared store."""

from msgspec import structs

from tidegate.core.domain.caller import Priority
from tidegate.core.domain.snapshots import ClassSnapshot, DimensionSnapshot, PoolSnapshot
from tidegate.core.ports.store_status import SharedStatus


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


def shared_status(**different: float | bool | None) -> SharedStatus:
    """The state of a store that two replicas share, as one that follows sees it, but for what is given."""
    status = SharedStatus(
        is_up=True,
        silent_seconds=0.1,
        latency_seconds=0.0005,
        is_degraded=False,
        is_refusing=False,
        is_leader=False,
        log_lag_seconds=0.0,
        leader_changes=0,
        replicas=2,
        snapshot_age_seconds=0.5,
    )
    return structs.replace(status, **different)
