"""Until when the ticket store may still be at what was last written to it and not answered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fieldapp.extensions import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("settles_at", UtcDateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "settles_at")
