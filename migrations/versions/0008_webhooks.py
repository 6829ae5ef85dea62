"""Inbound webhooks that were heard, so that each counts once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fieldapp.extensions import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "heard_hint",
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("heard_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("store", "sha256", name=op.f("pk_heard_hint")),
    )
    op.create_index(op.f("ix_heard_hint_heard_at"), "heard_hint", ["heard_at"])


def downgrade() -> None:
    op.drop_table("heard_hint")
