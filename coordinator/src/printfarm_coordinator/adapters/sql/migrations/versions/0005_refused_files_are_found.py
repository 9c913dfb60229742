"""Refusals of files are looked up at each decision."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
_REFUSED = sa.text("reason_code = 'limits'")


def upgrade() -> None:
    """Up."""
    op.create_index("ix_run_refused", "run", ["ended_at"], sqlite_where=_REFUSED, postgresql_where=_REFUSED)


def downgrade() -> None:
    """Down."""
    op.drop_index("ix_run_refused", "run")
