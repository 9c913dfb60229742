"""What tells a repeated renewal from a second host: the key of the newest certificate, and this enrolment's beginning."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up."""
    op.add_column("agent", sa.Column("certificate_key_sha256", sa.Text(), server_default="", nullable=False))
    op.add_column("agent", sa.Column("enrollment_expires_at", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Down."""
    op.drop_column("agent", "enrollment_expires_at")
    op.drop_column("agent", "certificate_key_sha256")
