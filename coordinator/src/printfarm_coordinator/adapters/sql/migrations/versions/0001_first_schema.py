"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up."""
    op.create_table(
        "agent",
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("connection_epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("boot_id", sa.Text(), server_default="", nullable=False),
        sa.Column("journal_id", sa.Text(), server_default="", nullable=False),
        sa.Column("last_applied_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("journal_max_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_expires_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("reachable", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("version", sa.Text(), server_default="", nullable=False),
        sa.Column("hostname", sa.Text(), server_default="", nullable=False),
        sa.Column("draining", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("wants_drain", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("revoked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("locked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("certificate_generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("certificate_serial", sa.Text(), server_default="", nullable=False),
        sa.Column("previous_serial", sa.Text(), server_default="", nullable=False),
        sa.Column("certificate_expires_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_agent")),
    )
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_key_secret_sha256")),
    )
    op.create_table(
        "artifact",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("estimated_seconds", sa.Double(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_artifact")),
    )
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_subject_id"), "audit", ["subject_id"], unique=False)
    op.create_table(
        "cursor",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursor")),
    )
    op.create_table(
        "enrollment_token",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_by_key_sha256", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_enrollment_token")),
    )
    op.create_index(op.f("ix_enrollment_token_expires_at"), "enrollment_token", ["expires_at"], unique=False)
    op.create_table(
        "event",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("subject_sequence", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
        sa.UniqueConstraint("position", name=op.f("uq_event_position")),
        sa.UniqueConstraint(
            "subject_kind",
            "subject_id",
            "subject_sequence",
            name=op.f("uq_event_subject_kind_subject_id_subject_sequence"),
        ),
    )
    op.create_index(
        "ix_event_unpositioned",
        "event",
        ["event_id"],
        unique=False,
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.create_table(
        "idempotency",
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"], unique=False)
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leadership")),
    )
    op.create_table(
        "printer",
        sa.Column("printer_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("driver", sa.Text(), nullable=False),
        sa.Column("abilities", sa.JSON(), nullable=False),
        sa.Column("overrides", sa.JSON(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bed_state", sa.Text(), nullable=False),
        sa.Column("bed_token", sa.Text(), nullable=True),
        sa.Column("bed_run_id", sa.Text(), nullable=True),
        sa.Column("bed_actor", sa.Text(), server_default="", nullable=False),
        sa.Column("bed_updated_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("hold_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("hold_actor", sa.Text(), server_default="", nullable=False),
        sa.Column("locked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("lock_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("emergency_generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("emergency_done_generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("emergency_released_generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("observed_state", sa.Text(), nullable=False),
        sa.Column("active_run_id", sa.Text(), nullable=True),
        sa.Column("refusals", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("backoff_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("printer_id", name=op.f("pk_printer")),
    )
    op.create_index(op.f("ix_printer_agent_id"), "printer", ["agent_id"], unique=False)
    op.create_table(
        "upload",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("artifact_sha256", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_upload")),
    )
    op.create_index(op.f("ix_upload_expires_at"), "upload", ["expires_at"], unique=False)
    op.create_table(
        "user_account",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_user_account")),
    )
    op.create_table(
        "job",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("artifact_sha256", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("parts_per_plate", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("requirements", sa.JSON(), nullable=False),
        sa.Column("max_retries", sa.BigInteger(), nullable=False),
        sa.Column("estimated_seconds", sa.Double(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("good_parts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pending_parts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("active_runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed_runs", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("hold_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("active_runs >= 0 AND pending_parts >= 0", name="ck_job_counts"),
        sa.ForeignKeyConstraint(["artifact_sha256"], ["artifact.sha256"], name=op.f("fk_job_artifact_sha256")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job")),
    )
    op.create_index("ix_job_newest", "job", ["created_at", "job_id"], unique=False)
    op.create_index(
        "ix_job_open",
        "job",
        ["state"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "run",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("printer_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("unconfirmed_from", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("pause_requested", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=True),
        sa.Column("reason_code", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("retry_of", sa.Text(), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("bed_token", sa.Text(), nullable=True),
        sa.Column("authorised_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("verdict_good_parts", sa.BigInteger(), nullable=True),
        sa.Column("verdict_reason", sa.Text(), nullable=True),
        sa.Column("verdict_actor", sa.Text(), nullable=True),
        sa.Column("verdict_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.job_id"], name=op.f("fk_run_job_id")),
        sa.ForeignKeyConstraint(["printer_id"], ["printer.printer_id"], name=op.f("fk_run_printer_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run")),
        sa.UniqueConstraint("bed_token", name=op.f("uq_run_bed_token")),
        sa.UniqueConstraint("printer_id", "epoch", name=op.f("uq_run_printer_id_epoch")),
    )
    op.create_index(op.f("ix_run_agent_id"), "run", ["agent_id"], unique=False)
    op.create_index(op.f("ix_run_job_id"), "run", ["job_id"], unique=False)
    op.create_index("ix_run_newest", "run", ["created_at", "run_id"], unique=False)
    op.create_index(op.f("ix_run_printer_id"), "run", ["printer_id"], unique=False)
    op.create_index(
        "one_active_per_printer",
        "run",
        ["printer_id"],
        unique=True,
        sqlite_where=sa.text(
            "state IN ('offered','accepted','authorised','starting','printing','paused','finishing','unconfirmed')"
        ),
        postgresql_where=sa.text(
            "state IN ('offered','accepted','authorised','starting','printing','paused','finishing','unconfirmed')"
        ),
    )


def downgrade() -> None:
    """Down."""
    op.drop_index(
        "one_active_per_printer",
        table_name="run",
        sqlite_where=sa.text(
            "state IN ('offered','accepted','authorised','starting','printing','paused','finishing','unconfirmed')"
        ),
        postgresql_where=sa.text(
            "state IN ('offered','accepted','authorised','starting','printing','paused','finishing','unconfirmed')"
        ),
    )
    op.drop_index(op.f("ix_run_printer_id"), table_name="run")
    op.drop_index("ix_run_newest", table_name="run")
    op.drop_index(op.f("ix_run_job_id"), table_name="run")
    op.drop_index(op.f("ix_run_agent_id"), table_name="run")
    op.drop_table("run")
    op.drop_index(
        "ix_job_open",
        table_name="job",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.drop_index("ix_job_newest", table_name="job")
    op.drop_table("job")
    op.drop_table("user_account")
    op.drop_index(op.f("ix_upload_expires_at"), table_name="upload")
    op.drop_table("upload")
    op.drop_index(op.f("ix_printer_agent_id"), table_name="printer")
    op.drop_table("printer")
    op.drop_table("leadership")
    op.drop_index(op.f("ix_idempotency_created_at"), table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_index(
        "ix_event_unpositioned",
        table_name="event",
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.drop_table("event")
    op.drop_index(op.f("ix_enrollment_token_expires_at"), table_name="enrollment_token")
    op.drop_table("enrollment_token")
    op.drop_table("cursor")
    op.drop_index(op.f("ix_audit_subject_id"), table_name="audit")
    op.drop_table("audit")
    op.drop_table("artifact")
    op.drop_table("api_key")
    op.drop_table("agent")
