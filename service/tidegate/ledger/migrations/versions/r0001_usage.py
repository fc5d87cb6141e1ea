"""Create the tables of usage."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SUMS = (
    *("calls", "refused", "failed"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    *("cost_micro_usd", "unpriced_tokens"),
    *("wait_0_1", "wait_1", "wait_10", "wait_60", "wait_600", "wait_longer"),
)


def upgrade() -> None:
    """Creates `usage`, `refusals` and `writers`."""
    op.create_table("usage", *_keys(), *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS))
    op.create_table(
        "refusals",
        *_keys(),
        sa.Column("cause", sa.Text, primary_key=True),
        sa.Column("calls", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "writers",
        sa.Column("writer", sa.Text, primary_key=True),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
    )


def _keys() -> list[sa.Column[Any]]:
    return [
        *(sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False) for name in ("starts", "seconds")),
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("team", "caller", "model", "pool", "priority")),
    ]
