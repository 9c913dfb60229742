"""Profiles, slicings and the workers that make them; jobs of models; the file of each run."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    """Up."""
    op.add_column("job", sa.Column("needs_slicing", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("job", sa.Column("profile", sa.Text(), server_default="", nullable=False))
    op.add_column("job", sa.Column("prepared", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("run", sa.Column("artifact_sha256", sa.Text(), server_default="", nullable=False))
    op.add_column("run", sa.Column("estimated_seconds", sa.Double(), nullable=True))
    op.create_table(
        "profile",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("printer_models", sa.JSON(), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_profile")),
    )
    op.create_table(
        "slicing",
        sa.Column("slicing_id", sa.Text(), nullable=False),
        sa.Column("model_sha256", sa.Text(), nullable=False),
        sa.Column("settings_hash", sa.Text(), nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("engine_version", sa.Text(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("claim_token", sa.Text(), server_default="", nullable=False),
        sa.Column("claimed_by", sa.Text(), server_default="", nullable=False),
        sa.Column("claim_expires_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("result_sha256", sa.Text(), nullable=True),
        sa.Column("estimated_seconds", sa.Double(), nullable=True),
        sa.Column("filament_grams", sa.Double(), nullable=True),
        sa.Column("error_code", sa.Text(), server_default="", nullable=False),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_sha256"], ["artifact.sha256"], name=op.f("fk_slicing_model_sha256")),
        sa.ForeignKeyConstraint(["result_sha256"], ["artifact.sha256"], name=op.f("fk_slicing_result_sha256")),
        sa.PrimaryKeyConstraint("slicing_id", name=op.f("pk_slicing")),
        sa.UniqueConstraint(
            "model_sha256",
            "settings_hash",
            "parts",
            "engine",
            "engine_version",
            name=op.f("uq_slicing_model_sha256_settings_hash_parts_engine_engine_version"),
        ),
    )
    op.create_index("ix_slicing_open", "slicing", ["state"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("ix_slicing_result", "slicing", ["result_sha256"])
    op.create_table(
        "slicer_worker",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("engines", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_slicer_worker")),
    )


def downgrade() -> None:
    """Down."""
    op.drop_table("slicer_worker")
    op.drop_table("slicing")
    op.drop_table("profile")
    op.drop_column("run", "estimated_seconds")
    op.drop_column("run", "artifact_sha256")
    op.drop_column("job", "prepared")
    op.drop_column("job", "profile")
    op.drop_column("job", "needs_slicing")
