"""The schema, the same on PostgreSQL and SQLite. Times are BIGINT microseconds since the epoch, by the database's clock."""

import sqlalchemy as sa

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMING)

ACTIVE_STATES = "('offered','accepted','authorised','starting','printing','paused','finishing','unconfirmed')"

# A BIGINT that SQLite takes for its rowid.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, default: str = "") -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("estimated_seconds", sa.Double),
    _time("created_at"),
    _time("deleted_at", nullable=True),
    # Its bytes are gone: what deleted it has come to its end.
    _time("erased_at", nullable=True),
    # Of the newest reader that has read it.
    _count("facts_version"),
    # What the safety check found in a print file; null before that.
    sa.Column("inspection", sa.JSON(none_as_null=True)),
    # Of a sliced 3MF.
    sa.Column("plates", sa.JSON(none_as_null=True)),
)
sa.Index(
    "ix_artifact_unread",
    artifact.c.facts_version,
    artifact.c.created_at,
    sqlite_where=sa.text("deleted_at IS NULL"),
    postgresql_where=sa.text("deleted_at IS NULL"),
)
sa.Index(
    "ix_artifact_to_erase",
    artifact.c.deleted_at,
    sqlite_where=sa.text("deleted_at IS NOT NULL AND erased_at IS NULL"),
    postgresql_where=sa.text("deleted_at IS NOT NULL AND erased_at IS NULL"),
)

file_facts = sa.Table(
    "file_facts",
    metadata,
    sa.Column("sha256", sa.Text, sa.ForeignKey("artifact.sha256"), primary_key=True),
    sa.Column("reader_version", sa.BigInteger, nullable=False),
    _time("read_at"),
    _text("reason"),
    sa.Column("facts", sa.JSON(none_as_null=True)),
    # What files are looked for by, as the facts have it; materials as ``|pla|petg|``.
    _text("slicer"),
    _text("printer_model"),
    _text("materials"),
)

# The same file unpacks to the same text: done once, for all jobs of it.
unpacked_file = sa.Table(
    "unpacked_file",
    metadata,
    sa.Column("packed_sha256", sa.Text, sa.ForeignKey("artifact.sha256"), primary_key=True),
    sa.Column("plate", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("gcode_sha256", sa.Text, sa.ForeignKey("artifact.sha256"), nullable=False),
    sa.Column("estimated_seconds", sa.Double),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("artifact_sha256", sa.Text, sa.ForeignKey("artifact.sha256"), nullable=False),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("parts_per_plate", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.BigInteger, nullable=False),
    _time("due_at", nullable=True),
    sa.Column("requirements", sa.JSON, nullable=False),
    sa.Column("max_retries", sa.BigInteger, nullable=False),
    sa.Column("estimated_seconds", sa.Double),
    sa.Column("state", sa.Text, nullable=False),
    _flag("cancel_requested"),
    _count("good_parts"),
    _count("pending_parts"),
    _count("active_runs"),
    _count("failed_runs"),
    _flag("held"),
    _text("hold_reason"),
    _text("failure_reason"),
    _flag("needs_slicing"),
    _text("profile"),
    sa.Column("prepared", sa.Boolean, nullable=False, server_default=sa.true()),
    _flag("fit_plate"),
    _text("packed_kind"),
    _count("plate"),
    _text("gcode_sha256"),
    _time("created_at"),
    _time("updated_at"),
    _time("ended_at", nullable=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.CheckConstraint("active_runs >= 0 AND pending_parts >= 0", name="ck_job_counts"),
)
sa.Index(
    "ix_job_open", job.c.state, sqlite_where=sa.text("ended_at IS NULL"), postgresql_where=sa.text("ended_at IS NULL")
)
sa.Index("ix_job_newest", job.c.created_at, job.c.job_id)

printer = sa.Table(
    "printer",
    metadata,
    sa.Column("printer_id", sa.Text, primary_key=True),
    sa.Column("agent_id", sa.Text, nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("driver", sa.Text, nullable=False),
    sa.Column("abilities", sa.JSON, nullable=False),
    sa.Column("overrides", sa.JSON, nullable=False),
    _count("epoch"),
    sa.Column("bed_state", sa.Text, nullable=False),
    sa.Column("bed_token", sa.Text),
    sa.Column("bed_run_id", sa.Text),
    _text("bed_actor"),
    _count("bed_updated_at"),
    _flag("held"),
    _text("hold_reason"),
    _text("hold_actor"),
    _flag("locked"),
    _text("lock_reason"),
    _count("emergency_generation"),
    _count("emergency_done_generation"),
    _count("emergency_released_generation"),
    sa.Column("observed_state", sa.Text, nullable=False),
    sa.Column("active_run_id", sa.Text),
    _count("refusals"),
    _count("backoff_until"),
    _time("created_at"),
    _time("updated_at"),
    sa.Column("version", sa.BigInteger, nullable=False),
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("job.job_id"), nullable=False, index=True),
    sa.Column("printer_id", sa.Text, sa.ForeignKey("printer.printer_id"), nullable=False, index=True),
    sa.Column("agent_id", sa.Text, nullable=False, index=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("parts", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("unconfirmed_from", sa.Text),
    _flag("cancel_requested"),
    _flag("pause_requested"),
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),
    sa.Column("verified", sa.Boolean),
    _text("reason_code"),
    _text("reason"),
    sa.Column("retry_of", sa.Text),
    sa.Column("nonce", sa.Text),
    sa.Column("bed_token", sa.Text, unique=True),
    _time("authorised_at", nullable=True),
    _time("started_at", nullable=True),
    _time("ended_at", nullable=True),
    sa.Column("verdict_good_parts", sa.BigInteger),
    sa.Column("verdict_reason", sa.Text),
    sa.Column("verdict_actor", sa.Text),
    _time("verdict_at", nullable=True),
    _text("artifact_sha256"),
    sa.Column("estimated_seconds", sa.Double),
    sa.Column("cost", sa.JSON(none_as_null=True)),
    _time("created_at"),
    _time("updated_at"),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("printer_id", "epoch"),
)
# The backstop of I2: even if the code is wrong.
sa.Index(
    "one_active_per_printer",
    run.c.printer_id,
    unique=True,
    sqlite_where=sa.text(f"state IN {ACTIVE_STATES}"),
    postgresql_where=sa.text(f"state IN {ACTIVE_STATES}"),
)
sa.Index("ix_run_newest", run.c.created_at, run.c.run_id)
sa.Index(
    "ix_run_refused",
    run.c.ended_at,
    sqlite_where=sa.text("reason_code = 'limits'"),
    postgresql_where=sa.text("reason_code = 'limits'"),
)

agent = sa.Table(
    "agent",
    metadata,
    sa.Column("agent_id", sa.Text, primary_key=True),
    _time("created_at"),
    _count("connection_epoch"),
    _text("boot_id"),
    _text("journal_id"),
    _count("last_applied_sequence"),
    _count("journal_max_sequence"),
    _count("lease_expires_at"),
    _time("last_heartbeat_at", nullable=True),
    _flag("reachable"),
    _text("version"),
    _text("hostname"),
    _flag("draining"),
    _flag("wants_drain"),
    _flag("revoked"),
    _flag("locked"),
    _count("certificate_generation"),
    _text("certificate_serial"),
    _text("previous_serial"),
    _count("certificate_expires_at"),
    _text("certificate_key_sha256"),
    _count("enrollment_expires_at"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("event_id", Serial, primary_key=True, autoincrement=True),
    # Given by the relay after commit: serial order is not commit order.
    sa.Column("position", sa.BigInteger, unique=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("subject_kind", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("subject_sequence", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    _time("created_at"),
    sa.UniqueConstraint("subject_kind", "subject_id", "subject_sequence"),
)
sa.Index(
    "ix_event_unpositioned",
    event.c.event_id,
    sqlite_where=sa.text("position IS NULL"),
    postgresql_where=sa.text("position IS NULL"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("created_at"),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject_kind", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body_sha256", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False, index=True),
)

upload = sa.Table(
    "upload",
    metadata,
    sa.Column("upload_id", sa.Text, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    _time("created_at"),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("artifact_sha256", sa.Text),
    _text("client"),
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("secret_sha256", sa.Text, nullable=False, unique=True),
    _time("created_at"),
    _time("expires_at", nullable=True),
    _time("last_used_at", nullable=True),
    _flag("revoked"),
)

user_account = sa.Table(
    "user_account",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    _time("created_at"),
    _flag("disabled"),
    sa.Column("generation", sa.BigInteger, nullable=False),
)

enrollment_token = sa.Table(
    "enrollment_token",
    metadata,
    sa.Column("token_sha256", sa.Text, primary_key=True),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("used_by_key_sha256", sa.Text),
)

cursor = sa.Table(
    "cursor",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)

leadership = sa.Table(
    "leadership",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("term", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

profile = sa.Table(
    "profile",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("printer_models", sa.JSON, nullable=False),
    _flag("is_default"),
    _text("description"),
    sa.Column("created_by", sa.Text, nullable=False),
    _time("created_at"),
    _time("retired_at", nullable=True),
)

slicing = sa.Table(
    "slicing",
    metadata,
    sa.Column("slicing_id", sa.Text, primary_key=True),
    sa.Column("model_sha256", sa.Text, sa.ForeignKey("artifact.sha256"), nullable=False),
    sa.Column("settings_hash", sa.Text, nullable=False),
    sa.Column("parts", sa.BigInteger, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("engine_version", sa.Text, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("priority", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    _count("attempts"),
    _text("claim_token"),
    _text("claimed_by"),
    _time("claimed_at", nullable=True),
    _count("claim_expires_at"),
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),
    sa.Column("result_sha256", sa.Text, sa.ForeignKey("artifact.sha256")),
    sa.Column("estimated_seconds", sa.Double),
    sa.Column("filament_grams", sa.Double),
    # Where the slicer was to find out how many fit: then ``parts`` is 0.
    sa.Column("result_parts", sa.BigInteger),
    _text("error_code"),
    _text("error"),
    _time("created_at"),
    _time("updated_at"),
    _time("ended_at", nullable=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    # The same part is sliced once, whatever two coordinators decide at the same moment.
    sa.UniqueConstraint("model_sha256", "settings_hash", "parts", "engine", "engine_version"),
)
sa.Index(
    "ix_slicing_open",
    slicing.c.state,
    sqlite_where=sa.text("ended_at IS NULL"),
    postgresql_where=sa.text("ended_at IS NULL"),
)
sa.Index("ix_slicing_result", slicing.c.result_sha256)

slicer_worker = sa.Table(
    "slicer_worker",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("engines", sa.JSON, nullable=False),
    _time("seen_at"),
)

rate = sa.Table(
    "rate",
    metadata,
    sa.Column("rate_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    _text("material"),
    _text("colour"),
    _text("printer_id"),
    # Millionths of the currency's unit.
    sa.Column("price", sa.BigInteger),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("density_g_cm3", sa.Double),
    sa.Column("diameter_mm", sa.Double),
    _time("valid_from"),
    _time("created_at"),
    sa.Column("created_by", sa.Text, nullable=False),
)

file_override = sa.Table(
    "file_override",
    metadata,
    sa.Column("override_id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("job.job_id"), nullable=False, index=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("rules", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("covers", sa.JSON, nullable=False),
    _time("created_at"),
    _time("revoked_at", nullable=True),
    _text("revoked_by"),
)
