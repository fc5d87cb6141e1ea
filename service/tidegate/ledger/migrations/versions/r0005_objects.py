"""Create the table of the owners of objects."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Creates `objects`."""
    op.create_table(
        "objects",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
