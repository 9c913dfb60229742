"""What was read from files; files that were deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
_HERE = sa.text("deleted_at IS NULL")
_TO_ERASE = sa.text("deleted_at IS NOT NULL AND erased_at IS NULL")


def upgrade() -> None:
    """Up. Files that are there are read by the coordinator, one after another."""
    op.add_column("artifact", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
    op.add_column("artifact", sa.Column("erased_at", sa.BigInteger(), nullable=True))
    op.add_column("artifact", sa.Column("facts_version", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index(
        "ix_artifact_unread", "artifact", ["facts_version", "created_at"], sqlite_where=_HERE, postgresql_where=_HERE
    )
    op.create_index(
        "ix_artifact_to_erase", "artifact", ["deleted_at"], sqlite_where=_TO_ERASE, postgresql_where=_TO_ERASE
    )
    op.create_table(
        "file_facts",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("reader_version", sa.BigInteger(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("facts", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("slicer", sa.Text(), server_default="", nullable=False),
        sa.Column("printer_model", sa.Text(), server_default="", nullable=False),
        sa.Column("materials", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["artifact.sha256"], name=op.f("fk_file_facts_sha256")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_file_facts")),
    )


def downgrade() -> None:
    """Down."""
    op.drop_table("file_facts")
    op.drop_index("ix_artifact_to_erase", "artifact")
    op.drop_index("ix_artifact_unread", "artifact")
    op.drop_column("artifact", "facts_version")
    op.drop_column("artifact", "erased_at")
    op.drop_column("artifact", "deleted_at")
