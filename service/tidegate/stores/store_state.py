"""The learned state of all pools of a store, as one value."""

from msgspec import Struct

from tidegate.core.accounts.accounts import AccountsState
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.pool.pool_state import PoolState
from tidegate.stores.runtime_settings import SetAtRuntime

__all__ = ["ConfiguredState", "StoreState"]


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


class StoreState(Struct, frozen=True, array_like=True):
    """The dump of a store: what its pools have learned, what callers have used, and what was configured at runtime."""

    pools: tuple[PoolState, ...]
    accounts: AccountsState
    configured: tuple[ConfiguredState, ...]
