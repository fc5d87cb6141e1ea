"""Folds a recording as it is, and takes it apart into the steps that were made on the pools."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tidegate.stores.fold import Fold
from tidegate.stores.recording.attempts import Attempts
from tidegate.stores.recording.observed_pools import ObservedPools, Operation
from tidegate.stores.recording.recording_file import Begin, Gap, Part, Recorded, Steps
from tidegate.stores.valkey.log_fold import LogFold, LogState
from tidegate.stores.valkey.shared_log import EntryId

__all__ = ["Original", "Stretch", "fold_again", "fold_original", "restored_pools", "stretches"]


@dataclass
class Stretch:
    """Entries without a gap.

    Attributes:
        state: that of the log before them.
        entries: all of them.
        gap: why entries are missing behind them; None: none are.
    """

    state: LogState
    entries: list[Recorded] = field(default_factory=list)
    gap: str | None = None


@dataclass(frozen=True)
class Original:
    """A stretch as it was.

    Attributes:
        state: that of the log at the beginning.
        operations: all steps on the pools, in order.
        attempts: what became of each attempt.
        until_ns: the time of the last step; the first time is that of the state.
    """

    state: LogState
    operations: list[Operation]
    attempts: Attempts
    until_ns: int

    @property
    def since_ns(self) -> int:
        """The time of the beginning."""
        return self.state.now_ns


def stretches(parts: Iterable[Part]) -> list[Stretch]:
    """The stretches of a recording, in order."""
    found: list[Stretch] = []
    for part in parts:
        if isinstance(part, Begin):
            found.append(Stretch(part.state))
        elif found and isinstance(part, Steps):
            found[-1].entries += part.entries
        elif found and isinstance(part, Gap):
            found[-1].gap = part.reason
    return found


def fold_original(stretch: Stretch) -> Original:
    """Folds the entries by the same code as a leader.

    Raises:
        UnreadableState: another version has recorded the state.
    """
    fold = LogFold.continued(stretch.state, ObservedPools)
    pools = _begun(fold.pools, stretch.state)
    for entry in stretch.entries:
        fold.apply_appended(EntryId(entry.unix_ms, entry.number), entry.appended)
    return Original(stretch.state, pools.operations, pools.attempts, pools.now_ns)


def fold_again(original: Original) -> Attempts:
    """Makes the same steps again. The same attempts result, with the same times."""
    pools = restored_pools(original.state)
    for operation in original.operations:
        operation.run(pools, operation.now_ns)
        pools.take_changes()
    return pools.attempts


def restored_pools(state: LogState) -> ObservedPools:
    """The pools of a log in this state."""
    return _begun(Fold.restore(state.fold, state.now_ns, ObservedPools).pools, state)


def _begun(pools: object, state: LogState) -> ObservedPools:
    assert isinstance(pools, ObservedPools), "pools of this kind were asked for"  # noqa: S101
    pools.operations.clear()
    pools.now_ns = state.now_ns
    if state.fold.store.work is not None:
        pools.attempts.begin(state.fold.store.work, state.now_ns)
    return pools
