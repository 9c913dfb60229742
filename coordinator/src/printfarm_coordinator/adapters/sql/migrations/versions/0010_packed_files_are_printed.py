"""G-code that comes packed: which plates a file has, what a job prints of it, and what it unpacks to."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up."""
    op.add_column("artifact", sa.Column("plates", sa.JSON()))
    op.create_table(
        "unpacked_file",
        sa.Column("packed_sha256", sa.Text(), nullable=False),
        sa.Column("plate", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("gcode_sha256", sa.Text(), nullable=False),
        sa.Column("estimated_seconds", sa.Double()),
        sa.ForeignKeyConstraint(["packed_sha256"], ["artifact.sha256"], name=op.f("fk_unpacked_file_packed_sha256")),
        sa.ForeignKeyConstraint(["gcode_sha256"], ["artifact.sha256"], name=op.f("fk_unpacked_file_gcode_sha256")),
        sa.PrimaryKeyConstraint("packed_sha256", "plate", name=op.f("pk_unpacked_file")),
    )
    op.add_column("job", sa.Column("packed_kind", sa.Text(), server_default="", nullable=False))
    op.add_column("job", sa.Column("plate", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("job", sa.Column("gcode_sha256", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Down."""
    for column in ("gcode_sha256", "plate", "packed_kind"):
        op.drop_column("job", column)
    op.drop_table("unpacked_file")
    op.drop_column("artifact", "plates")
