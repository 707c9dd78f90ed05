"""The inbox: read by each reader for themselves, and numbered; and how far the end of each session is."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

# an item that was read was read by its clinician; one that is nobody's stays read for everybody
READ = """
    INSERT INTO inbox_reads (item_id, reader, read_at, seq)
    SELECT id, clinician_user_id, read_at, 0 FROM inbox
    WHERE read_at IS NOT NULL AND clinician_user_id IS NOT NULL
"""
READ_BY_ALL = "UPDATE inbox SET read_at = NULL WHERE clinician_user_id IS NOT NULL"


def upgrade() -> None:
    with op.batch_alter_table("clinics") as table:
        table.add_column(sa.Column("inbox_seq", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("inbox") as table:
        table.add_column(sa.Column("seq", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "inbox_reads",
        sa.Column("item_id", sa.String(length=40), nullable=False),
        sa.Column("reader", sa.String(length=128), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["inbox.id"], name=op.f("fk_inbox_reads_item_id_inbox")),
        sa.PrimaryKeyConstraint("item_id", "reader", name=op.f("pk_inbox_reads")),
    )
    op.execute(READ)
    op.execute(READ_BY_ALL)
    op.create_table(
        "making",
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_making_session_id_sessions")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_making")),
    )
