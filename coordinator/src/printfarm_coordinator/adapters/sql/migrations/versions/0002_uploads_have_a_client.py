"""Who began an upload: quotas are counted by principal."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up."""
    op.add_column("upload", sa.Column("client", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Down."""
    op.drop_column("upload", "client")
