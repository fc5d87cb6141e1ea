"""Create the tables of what was spent and what is reserved, for budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Creates `spending` and `reservations`."""
    op.create_table(
        "spending",
        sa.Column("starts", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("team", "caller", "session")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("micro_usd", "tokens")),
    )
    op.create_table(
        "reservations",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("writer", "team", "caller", "session")),
        sa.Column("written_at", sa.Float, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("micro_usd", "tokens")),
    )
