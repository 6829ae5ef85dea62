"""Phones without signal: what became of a submission, devices, cases for the office, photos that come later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fieldapp.extensions import UtcDateTime, uuid7

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server_identity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("server", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_identity")),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("first_seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("attention", sa.Integer(), nullable=False),
        sa.Column("oldest_waiting_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_sequence", sa.Integer(), nullable=True),
        sa.Column("skew_s", sa.Integer(), nullable=True),
        sa.Column("build", sa.String(length=20), nullable=False),
        sa.Column("storage_used", sa.BigInteger(), nullable=True),
        sa.Column("storage_quota", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_device_user_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("user_id", "device", name=op.f("uq_device_user_id_device")),
    )
    with op.batch_alter_table("device") as table:
        table.create_index("ix_device_waiting_seen_at", ["waiting", "seen_at"], unique=False)

    op.create_table(
        "photo_upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("touched_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("finished_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("blob_sha256", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_photo_upload_user_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo_upload")),
        sa.UniqueConstraint("user_id", "sha256", name=op.f("uq_photo_upload_user_id_sha256")),
    )
    op.create_table(
        "office_case",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("unique_for", sa.String(length=160), nullable=False),
        sa.Column("visit_id", sa.Uuid(), nullable=True),
        sa.Column("submission_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("settled_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("settled_by_id", sa.Uuid(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["settled_by_id"], ["user.id"], name=op.f("fk_office_case_settled_by_id_user")),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submission.id"], name=op.f("fk_office_case_submission_id_submission")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_office_case_user_id_user")),
        sa.ForeignKeyConstraint(["visit_id"], ["visit.id"], name=op.f("fk_office_case_visit_id_visit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_office_case")),
        sa.UniqueConstraint("unique_for", name=op.f("uq_office_case_unique_for")),
    )
    with op.batch_alter_table("office_case") as table:
        table.create_index("ix_office_case_settled_at_created_at", ["settled_at", "created_at"], unique=False)
        table.create_index(table.f("ix_office_case_visit_id"), ["visit_id"], unique=False)

    with op.batch_alter_table("photo") as table:
        table.add_column(sa.Column("source_sha256", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("arrived_at", UtcDateTime(timezone=True), nullable=True))
        table.alter_column("sha256", existing_type=sa.VARCHAR(length=64), nullable=True)
        table.alter_column("print_sha256", existing_type=sa.VARCHAR(length=64), nullable=True)
        table.alter_column("thumb_sha256", existing_type=sa.VARCHAR(length=64), nullable=True)
        table.alter_column("width", existing_type=sa.INTEGER(), nullable=True)
        table.alter_column("height", existing_type=sa.INTEGER(), nullable=True)
        table.create_index(table.f("ix_photo_source_sha256"), ["source_sha256"], unique=False)

    with op.batch_alter_table("service_record") as table:
        table.add_column(sa.Column("draft_device", sa.String(length=64), nullable=True))

    with op.batch_alter_table("submission") as table:
        table.add_column(sa.Column("outcome", sa.String(length=20), nullable=False, server_default="applied"))
        table.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("form_version", sa.String(length=10), nullable=True))
        table.add_column(sa.Column("kept_sha256", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("content_type", sa.String(length=120), nullable=True))
        table.create_index("ix_submission_user_id_path", ["user_id", "path"], unique=False)

    with op.batch_alter_table("submission") as table:
        table.alter_column("outcome", existing_type=sa.String(length=20), existing_nullable=False, server_default=None)
        table.alter_column("reason", existing_type=sa.Text(), existing_nullable=False, server_default=None)

    op.execute("UPDATE photo SET arrived_at = taken_at")
    identity = sa.table(
        "server_identity",
        sa.column("id", sa.Integer()),
        sa.column("server", sa.Uuid()),
        sa.column("epoch", sa.Integer()),
    )
    op.bulk_insert(identity, [{"id": 1, "server": uuid7(), "epoch": 1}])

    with op.batch_alter_table("user") as table:
        table.add_column(sa.Column("pin_check", sa.String(length=200), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("user") as table:
        table.drop_column("pin_check")

    with op.batch_alter_table("submission") as table:
        table.drop_index("ix_submission_user_id_path")
        table.drop_column("content_type")
        table.drop_column("kept_sha256")
        table.drop_column("form_version")
        table.drop_column("reason")
        table.drop_column("outcome")

    with op.batch_alter_table("service_record") as table:
        table.drop_column("draft_device")

    op.execute("DELETE FROM photo WHERE sha256 IS NULL")  # the older form has no place for what has not arrived
    with op.batch_alter_table("photo") as table:
        table.drop_index(table.f("ix_photo_source_sha256"))
        table.alter_column("height", existing_type=sa.INTEGER(), nullable=False)
        table.alter_column("width", existing_type=sa.INTEGER(), nullable=False)
        table.alter_column("thumb_sha256", existing_type=sa.VARCHAR(length=64), nullable=False)
        table.alter_column("print_sha256", existing_type=sa.VARCHAR(length=64), nullable=False)
        table.alter_column("sha256", existing_type=sa.VARCHAR(length=64), nullable=False)
        table.drop_column("arrived_at")
        table.drop_column("source_sha256")

    with op.batch_alter_table("office_case") as table:
        table.drop_index(table.f("ix_office_case_visit_id"))
        table.drop_index("ix_office_case_settled_at_created_at")

    op.drop_table("office_case")
    op.drop_table("photo_upload")
    with op.batch_alter_table("device") as table:
        table.drop_index("ix_device_waiting_seen_at")

    op.drop_table("device")
    op.drop_table("server_identity")
