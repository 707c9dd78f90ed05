"""Sessions that were recorded on after Finish: which part is the newest, and what goes by it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("sessions", "notes"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("part", sa.Integer(), nullable=False, server_default="1"))
    with op.batch_alter_table("notes") as table:
        table.add_column(sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("receipts") as table:
        table.add_column(sa.Column("part", sa.Integer(), nullable=False, server_default="1"))
        table.drop_constraint(op.f("uq_receipts_session_id_kind"), type_="unique")
        table.create_unique_constraint(op.f("uq_receipts_session_id_kind_part"), ["session_id", "kind", "part"])
