"""The embedded ticket store's own tables, and the sign of life of the workers that deliver to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fieldapp.extensions import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "desk_ticket",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("uid", sa.String(length=80), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("priority", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("customer_number", sa.String(length=40), nullable=True),
        sa.Column("asset_serial", sa.String(length=80), nullable=True),
        sa.Column("customer_name", sa.String(length=160), nullable=False),
        sa.Column("product", sa.String(length=160), nullable=False),
        sa.Column("company_phone", sa.String(length=40), nullable=False),
        sa.Column("contact_name", sa.String(length=80), nullable=False),
        sa.Column("contact_phone", sa.String(length=40), nullable=False),
        sa.Column("contact_qq", sa.String(length=40), nullable=False),
        sa.Column("contact_email", sa.String(length=160), nullable=False),
        sa.Column("named_engineer", sa.String(length=80), nullable=False),
        sa.Column("cover", sa.String(length=20), nullable=False),
        sa.Column("opened_by", sa.String(length=80), nullable=False),
        sa.Column("opened_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("changed_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_ticket")),
        sa.UniqueConstraint("change", name=op.f("uq_desk_ticket_change")),
        sa.UniqueConstraint("number", name=op.f("uq_desk_ticket_number")),
        sa.UniqueConstraint("uid", name=op.f("uq_desk_ticket_uid")),
    )
    with op.batch_alter_table("desk_ticket") as table:
        table.create_index("ix_desk_ticket_status_opened_at", ["status", "opened_at"])
        table.create_index("ix_desk_ticket_customer_number_opened_at", ["customer_number", "opened_at"])
    op.create_table(
        "desk_note",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(length=80), nullable=True),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("author", sa.String(length=80), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("status_before", sa.String(length=20), nullable=True),
        sa.Column("status_after", sa.String(length=20), nullable=True),
        sa.Column("left_status", sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(["ticket_id"], ["desk_ticket.id"], name=op.f("fk_desk_note_ticket_id_desk_ticket")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_note")),
        sa.UniqueConstraint("ticket_id", "version", name=op.f("uq_desk_note_ticket_id_version")),
        sa.UniqueConstraint("uid", name=op.f("uq_desk_note_uid")),
    )
    op.create_table(
        "desk_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("note_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["note_id"], ["desk_note.id"], name=op.f("fk_desk_file_note_id_desk_note")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_file")),
        sa.UniqueConstraint("note_id", "position", name=op.f("uq_desk_file_note_id_position")),
    )
    op.create_table(
        "worker_beat",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_beat")),
    )


def downgrade() -> None:
    op.drop_table("worker_beat")
    op.drop_table("desk_file")
    op.drop_table("desk_note")
    with op.batch_alter_table("desk_ticket") as table:
        table.drop_index("ix_desk_ticket_customer_number_opened_at")
        table.drop_index("ix_desk_ticket_status_opened_at")
    op.drop_table("desk_ticket")
