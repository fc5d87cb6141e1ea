"""The tables of the ledger. Every change of them needs a migration."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Dialect, Float, ForeignKey, MetaData, Table, TypeDecorator
from sqlalchemy import Text as AnyText

__all__ = [
    "DAY_SECONDS",
    "DIMENSIONS",
    "HOUR_SECONDS",
    "SESSION_SUMS",
    "SUMS",
    "WAITS",
    "audit",
    "callers",
    "keys",
    "metadata",
    "objects",
    "pauses",
    "refusal_days",
    "refusals",
    "reservations",
    "sessions",
    "spending",
    "usage",
    "usage_days",
    "writers",
]

HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 86_400

metadata: Final = MetaData()


class Text(TypeDecorator[str]):
    """A text, with `?` for what a database refuses: lone surrogates, and in PostgreSQL the character NUL.

    Names of models and objects come from clients and the upstream. A write with such a name would fail for ever.
    """

    impl = AnyText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """As SQLAlchemy calls it for each value."""
        return None if value is None else value.encode("utf-8", "replace").decode().replace("\0", "?")


DIMENSIONS: Final = ("team", "caller", "model", "pool", "priority")
"""The properties by which usage is counted, beside the time."""

WAITS: Final = ("wait_0_1", "wait_1", "wait_10", "wait_60", "wait_600", "wait_longer")
"""Calls by their wait for quota: at most so many seconds, and more than the bucket before."""

SUMS: Final = (
    *("calls", "refused", "failed"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    *("cost_micro_usd", "unpriced_tokens"),
    *WAITS,
)
"""The counted columns of `usage`."""


def _starts() -> Column[int]:
    """The beginning of an hour, day or quarter of an hour, in seconds since 1970-01-01 UTC."""
    return Column("starts", BigInteger, primary_key=True, autoincrement=False)


def _seconds() -> Column[int]:
    """Always an hour."""
    return Column("seconds", BigInteger, primary_key=True, autoincrement=False)


def _primary_key(*names: str) -> list[Column[str]]:
    """Texts that belong to the primary key."""
    return [Column(name, Text, primary_key=True) for name in names]


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


usage: Final = Table("usage", metadata, _starts(), _seconds(), *_primary_key(*DIMENSIONS), *_numbers(*SUMS))
"""Usage by the hour, of the last 400 days."""

usage_days: Final = Table("usage_days", metadata, _starts(), *_primary_key(*DIMENSIONS), *_numbers(*SUMS))
"""The same by the day, for ever: reports on long times would read a million hours otherwise."""

refusals: Final = Table(
    "refusals", metadata, _starts(), _seconds(), *_primary_key(*DIMENSIONS, "cause"), *_numbers("calls")
)

refusal_days: Final = Table(
    "refusal_days", metadata, _starts(), *_primary_key(*DIMENSIONS, "cause"), *_numbers("calls")
)

SESSION_SUMS: Final = (
    *("answers", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "cost_micro_usd"),
)
"""The counted columns of `sessions`."""

sessions: Final = Table(
    "sessions",
    metadata,
    *_primary_key("caller", "session"),
    *_texts("team"),
    *_numbers("first_at"),
    Column("last_at", BigInteger, nullable=False, index=True),
    *_numbers(*SESSION_SUMS),
)
"""The most expensive sessions of the last 30 days, under the names that the queue gives them."""

writers: Final = Table("writers", metadata, *_primary_key("writer"), *_numbers("batch", "written_at"))
"""The last batch of each process. It makes a batch count once, even if the answer to its commit was lost."""

callers: Final = Table(
    "callers",
    metadata,
    *_primary_key("name"),
    *_texts("team", "role"),
    Column("weight", Float, nullable=False),
    *_texts("priority"),
    Column("models", JSON, nullable=False),
)

keys: Final = Table(
    "keys",
    metadata,
    *_primary_key("id"),
    Column("caller", Text, ForeignKey("callers.name"), nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    *_numbers("created_at"),
    *_texts("created_by"),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)
"""Keys are never deleted: the list says who had which, and a service that had keys never becomes open again."""

pauses: Final = Table(
    "pauses", metadata, *_primary_key("kind", "name"), *_texts("reason", "paused_by"), *_numbers("paused_at")
)
"""The pauses in effect."""

audit: Final = Table(
    "audit",
    metadata,
    *_primary_key("id"),
    Column("at", BigInteger, nullable=False, index=True),
    *_texts("who", "action", "target"),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
)
"""The changes that admins have made. `before` and `after` have the changed values, and nothing secret."""

objects: Final = Table("objects", metadata, *_primary_key("id"), *_texts("team", "caller"), *_numbers("created_at"))
"""The creators of batches, files, sessions and whatever else an id of the API names. A deleted object has no row."""

spending: Final = Table(
    "spending",
    metadata,
    _starts(),
    *_primary_key("team", "caller", "session"),
    *_numbers("micro_usd", "tokens"),
)
"""Spending by the quarter of an hour, which begins at `starts`. `starts` 0 has all that is older than 62 days."""

reservations: Final = Table(
    "reservations",
    metadata,
    *_primary_key("writer", "team", "caller", "session"),
    Column("written_at", Float, nullable=False),
    *_numbers("micro_usd", "tokens"),
)
"""Reservations of the calls in progress of each process. Those of a process that died count as spent."""
