"""What a store has learned about all pools, as one versioned value, and its encoding."""

from typing import Final

from msgspec import Struct

from tidegate.core.accounts.accounts import AccountsState
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.state_encoding import decode_state, encode_state
from tidegate.core.pool.pool_state import PoolState

__all__ = ["STORE_STATE_VERSION", "ConfiguredState", "StoreState", "decode_store_state", "encode_store_state"]

STORE_STATE_VERSION: Final = 1
"""Counts changes after which older dumps cannot be read, here or in `PoolState`."""


class ConfiguredState(Struct, frozen=True, array_like=True):
    """The settings that `configure` has set for a pool.

    Attributes:
        pool: name of the pool.
        before: the settings by the configuration file at that time.
        settings: the settings that replaced them.
    """

    pool: str
    before: PoolSettings
    settings: PoolSettings


class StoreState(Struct, frozen=True, array_like=True):
    """The dump of a store: what its pools have learned, what callers have used, and what was configured at runtime."""

    version: int
    pools: tuple[PoolState, ...]
    accounts: AccountsState
    configured: tuple[ConfiguredState, ...]


def encode_store_state(state: StoreState) -> bytes:
    """The state as bytes, with a checksum."""
    return encode_state(state)


def decode_store_state(data: bytes) -> StoreState:
    """The state that `encode_store_state` has encoded.

    Raises:
        UnreadableState: the data is damaged, or another version wrote it.
    """
    return decode_state(data, StoreState, STORE_STATE_VERSION)
