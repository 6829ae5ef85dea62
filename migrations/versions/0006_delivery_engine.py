"""The delivery engine: a breaker for each store, what was sent and answered, what reconciling found, words laid over a file's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fieldapp.extensions import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TO_THE_STORE = ("report_issued", "visit_unfinished", "done_despite_cancellation")


def upgrade() -> None:
    op.add_column("outbox", sa.Column("store", sa.String(length=20), nullable=True))
    op.add_column("outbox", sa.Column("excused_s", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("outbox", sa.Column("reopened_at", UtcDateTime(timezone=True), nullable=True))
    op.create_index("ix_outbox_store_state", "outbox", ["store", "state"])
    op.create_index("ix_outbox_settled_at", "outbox", ["settled_at"])
    op.add_column("outbox_attempt", sa.Column("exchanges", sa.JSON(), nullable=False, server_default="[]"))
    _name_the_stores()
    op.create_table(
        "store_breaker",
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("why", sa.String(length=20), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=True),
        sa.Column("wait_s", sa.Integer(), nullable=False),
        sa.Column("probe_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("paused_until", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("store", name=op.f("pk_store_breaker")),
    )
    op.create_table(
        "store_check",
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("wanted_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("checked_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("flaws", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("store", name=op.f("pk_store_check")),
    )
    op.create_table(
        "store_word",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("section", sa.String(length=20), nullable=False),
        sa.Column("word", sa.String(length=120), nullable=False),
        sa.Column("means", sa.String(length=200), nullable=False),
        sa.Column("by", sa.Uuid(), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_word")),
        sa.UniqueConstraint("store", "section", "word", name=op.f("uq_store_word_store_section_word")),
    )
    op.create_table(
        "reconcile_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("deep", sa.Boolean(), nullable=False),
        sa.Column("since", UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("tickets", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconcile_run")),
    )
    op.create_index("ix_reconcile_run_store_started_at", "reconcile_run", ["store", "started_at"])
    op.create_table(
        "reconcile_finding",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("store", sa.String(length=20), nullable=False),
        sa.Column("ticket", sa.String(length=60), nullable=False),
        sa.Column("uid", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("repairs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconcile_finding")),
        sa.UniqueConstraint("store", "ticket", "uid", "what", name=op.f("uq_reconcile_finding_store_ticket_uid_what")),
    )
    op.create_index("ix_reconcile_finding_cleared_at", "reconcile_finding", ["cleared_at"])


def downgrade() -> None:
    for table in ("reconcile_finding", "reconcile_run", "store_word", "store_check", "store_breaker"):
        op.drop_table(table)
    op.drop_column("outbox_attempt", "exchanges")
    op.drop_index("ix_outbox_settled_at", "outbox")
    op.drop_index("ix_outbox_store_state", "outbox")
    for column in ("reopened_at", "excused_s", "store"):
        op.drop_column("outbox", column)


def _name_the_stores() -> None:
    """What was promised to a store before names it by its lane."""
    outbox = sa.table(
        "outbox", sa.column("lane", sa.String), sa.column("kind", sa.String), sa.column("store", sa.String)
    )
    theirs = outbox.c.kind.in_(TO_THE_STORE)
    named = sa.select(outbox.c.lane).where(theirs).distinct()
    stores = {lane.partition(":")[0] for lane in op.get_bind().scalars(named) if ":" in lane}
    for store in sorted(stores):
        in_it = theirs & outbox.c.lane.startswith(f"{store}:", autoescape=True)
        op.execute(outbox.update().where(in_it).values(store=store[:20]))
