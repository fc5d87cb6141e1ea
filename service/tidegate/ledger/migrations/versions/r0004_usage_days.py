"""Create the tables of usage by the day, filled from the hours, and of sessions."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_DIMENSIONS = ("team", "caller", "model", "pool", "priority")
_SUMS = (
    *("calls", "refused", "failed"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    *("cost_micro_usd", "unpriced_tokens"),
    *("wait_0_1", "wait_1", "wait_10", "wait_60", "wait_600", "wait_longer"),
)
_SESSION_SUMS = (
    *("answers", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "cost_micro_usd"),
)


def upgrade() -> None:
    """Creates `usage_days`, `refusal_days` and `sessions`."""
    op.create_table("usage_days", *_keys(), *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS))
    op.create_table(
        "refusal_days",
        *_keys(),
        sa.Column("cause", sa.Text, primary_key=True),
        sa.Column("calls", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SESSION_SUMS),
    )
    op.create_index("ix_sessions_last_at", "sessions", ["last_at"])
    _fill("usage_days", "usage", _DIMENSIONS, _SUMS)
    _fill("refusal_days", "refusals", (*_DIMENSIONS, "cause"), ("calls",))


def _keys() -> list[sa.Column[Any]]:
    return [
        sa.Column("starts", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, primary_key=True) for name in _DIMENSIONS),
    ]


def _fill(days: str, hours: str, names: tuple[str, ...], summed: tuple[str, ...]) -> None:
    """Adds up the hours of each day. Hours over 400 days old were days already."""
    source = sa.table(hours, *(sa.column(name) for name in ("starts", *names, *summed)))
    target = sa.table(days, *(sa.column(name) for name in ("starts", *names, *summed)))
    keys = [source.c.starts - source.c.starts % 86_400, *(source.c[name] for name in names)]
    sums = [sa.cast(sa.func.sum(source.c[name]), sa.BigInteger) for name in summed]
    op.execute(target.insert().from_select(["starts", *names, *summed], sa.select(*keys, *sums).group_by(*keys)))
