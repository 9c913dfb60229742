"""When a slicing was claimed: how long the claim took is told when it ends."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up. Claims that are under way have no beginning, and no figure."""
    op.add_column("slicing", sa.Column("claimed_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Down."""
    op.drop_column("slicing", "claimed_at")
