"""What changed in the store's tickets, for the people who plan; what a store said about a customer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fieldapp.extensions import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("ticket") as table:
        table.add_column(sa.Column("ended", sa.String(length=20), nullable=True))
        table.add_column(sa.Column("ended_at", UtcDateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("merged_into", sa.String(length=60), nullable=True))
        table.add_column(sa.Column("seen_at", UtcDateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("pushed_status", sa.String(length=20), nullable=True))
        table.add_column(sa.Column("pushed_at", UtcDateTime(timezone=True), nullable=True))
    with op.batch_alter_table("pull_cursor") as table:
        # Some stores' cursors are long.
        table.alter_column("cursor", existing_type=sa.String(length=200), type_=sa.Text(), existing_nullable=False)
        table.add_column(sa.Column("caught_up_at", UtcDateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("scan_cursor", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("scan_started_at", UtcDateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("scan_read_at", UtcDateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("scan_ended_at", UtcDateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("scan_error", sa.Text(), nullable=True))
    with op.batch_alter_table("desk_ticket") as table:
        table.add_column(sa.Column("changed_by", sa.String(length=80), nullable=False, server_default=""))
    # An installation that has read its store before is not told of everything anew.
    op.execute("UPDATE pull_cursor SET caught_up_at = pulled_at WHERE cursor <> ''")
    op.create_table(
        "ticket_news",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(length=80), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("made_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("seen_by_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["seen_by_id"], ["user.id"], name=op.f("fk_ticket_news_seen_by_id_user")),
        sa.ForeignKeyConstraint(["ticket_id"], ["ticket.id"], name=op.f("fk_ticket_news_ticket_id_ticket")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_news")),
        sa.UniqueConstraint("ticket_id", "version", "kind", name=op.f("uq_ticket_news_ticket_id_version_kind")),
    )
    with op.batch_alter_table("ticket_news") as table:
        table.create_index("ix_ticket_news_seen_at_id", ["seen_at", "id"])
        table.create_index(op.f("ix_ticket_news_made_at"), ["made_at"])
    op.create_table(
        "customer_history",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("tickets", sa.JSON(), nullable=False),
        sa.Column("asked_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("tried_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_customer_history_customer_id_customer")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_history")),
        sa.UniqueConstraint("store", "customer_id", name=op.f("uq_customer_history_store_customer_id")),
    )
    with op.batch_alter_table("customer_history") as table:
        table.create_index(op.f("ix_customer_history_customer_id"), ["customer_id"])


def downgrade() -> None:
    op.drop_table("customer_history")
    op.drop_table("ticket_news")
    with op.batch_alter_table("desk_ticket") as table:
        table.drop_column("changed_by")
    with op.batch_alter_table("pull_cursor") as table:
        for name in ("scan_error", "scan_ended_at", "scan_read_at", "scan_started_at", "scan_cursor", "caught_up_at"):
            table.drop_column(name)
        table.alter_column("cursor", existing_type=sa.Text(), type_=sa.String(length=200), existing_nullable=False)
    with op.batch_alter_table("ticket") as table:
        for name in ("pushed_at", "pushed_status", "seen_at", "merged_into", "ended_at", "ended"):
            table.drop_column(name)
