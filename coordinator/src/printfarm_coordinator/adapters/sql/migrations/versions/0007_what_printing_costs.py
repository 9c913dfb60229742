"""Rates, and what runs cost."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up. Runs that ended before have no cost."""
    op.add_column("run", sa.Column("cost", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "rate",
        sa.Column("rate_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("material", sa.Text(), server_default="", nullable=False),
        sa.Column("colour", sa.Text(), server_default="", nullable=False),
        sa.Column("printer_id", sa.Text(), server_default="", nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("density_g_cm3", sa.Double(), nullable=True),
        sa.Column("diameter_mm", sa.Double(), nullable=True),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rate_id", name=op.f("pk_rate")),
    )


def downgrade() -> None:
    """Down."""
    op.drop_table("rate")
    op.drop_column("run", "cost")
