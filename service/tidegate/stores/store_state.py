"""The state of all pools of a store, as one value."""

from msgspec import Struct

from tidegate.core.accounts.accounts import AccountsState, AccountWork
from tidegate.core.accounts.budgets import BudgetsState
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.pool.pool_state import PoolState
from tidegate.core.pool.pool_work import PoolWork
from tidegate.stores.runtime_settings import SetAtRuntime

__all__ = ["ConfiguredState", "StoreState", "StoreWork"]


class ConfiguredState(Struct, frozen=True, array_like=True):
    """The settings that `configure` has set for a pool.

    Attributes:
        pool: name of the pool.
        before: the settings by the configuration file at that time.
        settings: the settings that replaced them.
        origins: who set the limit of each dimension, and when. Files of earlier versions have none.
    """

    pool: str
    before: PoolSettings
    settings: PoolSettings
    origins: dict[Dimension, SetAtRuntime] = {}


class StoreWork(Struct, frozen=True, array_like=True):
    """The leases and waiters of all pools, and which pools each caller's account has to notify.

    Attributes:
        folded: the number of the last step of each replica whose steps were folded.
        budgets: what was spent and reserved. Without the work of a dump, the ledger knows it.
    """

    pools: tuple[PoolWork, ...]
    accounts: tuple[AccountWork, ...]
    folded: dict[str, int] = {}
    budgets: BudgetsState = BudgetsState()


class StoreState(Struct, frozen=True, array_like=True):
    """The dump of a store: what its pools have learned, what callers have used, and what was configured at runtime.

    Attributes:
        work: the leases and waiters of the same moment, if they were asked for.
    """

    pools: tuple[PoolState, ...]
    accounts: AccountsState
    configured: tuple[ConfiguredState, ...]
    work: StoreWork | None = None
