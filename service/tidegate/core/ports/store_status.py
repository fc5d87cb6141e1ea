"""The state of a store that several replicas share, for metrics, readiness and the log."""

from msgspec import Struct

__all__ = ["SharedStatus"]


class SharedStatus(Struct, frozen=True):
    """The state of a `SharedStore`.

    Attributes:
        is_up: whether the server answered the last ping in time.
        silent_seconds: since its last answer.
        latency_seconds: how long that answer took.
        is_degraded: whether this replica decides alone, by its share of the limits.
        is_refusing: whether it refuses all calls, because it was degraded for too long.
        is_leader: whether this replica leads.
        log_lag_seconds: how far the leader is behind the log; 0 on other replicas.
        leader_changes: how often another replica has taken the lead, counted by the log.
        replicas: how many replicas share the limits, by the last report.
        snapshot_age_seconds: the age of the last report; None before the first.
    """

    is_up: bool
    silent_seconds: float
    latency_seconds: float
    is_degraded: bool
    is_refusing: bool
    is_leader: bool
    log_lag_seconds: float
    leader_changes: int
    replicas: int
    snapshot_age_seconds: float | None
