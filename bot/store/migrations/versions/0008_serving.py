"""Which process serves a session, where several share the database; and room for the longest name in the inbox."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "serving",
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("process_id", sa.String(length=64), nullable=True),
        sa.Column("work", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_serving_session_id_sessions")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_serving")),
    )
    op.create_index(op.f("ix_serving_process_id"), "serving", ["process_id"])
    with op.batch_alter_table("inbox") as table:
        table.alter_column("dedupe", existing_type=sa.String(length=128), type_=sa.String(length=255))
