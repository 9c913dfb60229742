"""Jobs of models may ask for as many parts on a plate as fit; a slicing then tells how many those are."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Up."""
    op.add_column("job", sa.Column("fit_plate", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("slicing", sa.Column("result_parts", sa.BigInteger()))


def downgrade() -> None:
    """Down."""
    op.drop_column("slicing", "result_parts")
    op.drop_column("job", "fit_plate")
