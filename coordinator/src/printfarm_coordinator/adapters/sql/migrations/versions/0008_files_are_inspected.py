"""What the safety check found in a print file, and who allowed it for a job: files that are there already are inspected when a
job needs it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up."""
    op.add_column("artifact", sa.Column("inspection", sa.JSON()))
    op.create_table(
        "file_override",
        sa.Column("override_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rules", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("covers", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("revoked_by", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.job_id"], name=op.f("fk_file_override_job_id")),
        sa.PrimaryKeyConstraint("override_id", name=op.f("pk_file_override")),
    )
    op.create_index(op.f("ix_file_override_job_id"), "file_override", ["job_id"])


def downgrade() -> None:
    """Down."""
    op.drop_table("file_override")
    op.drop_column("artifact", "inspection")
