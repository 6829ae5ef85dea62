"""An upload keeps the names of all its copies: the record that names the photo may come after the photo."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("photo_upload") as table:
        table.add_column(sa.Column("print_sha256", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("thumb_sha256", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("size", sa.Integer(), nullable=True))
        table.add_column(sa.Column("width", sa.Integer(), nullable=True))
        table.add_column(sa.Column("height", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("photo_upload") as table:
        table.drop_column("height")
        table.drop_column("width")
        table.drop_column("size")
        table.drop_column("thumb_sha256")
        table.drop_column("print_sha256")
