"""Whose record a session is; legal holds, deletions, receipts that outlive sessions; when a note's time is up."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("participants") as table:
        table.add_column(sa.Column("client_ref", sa.String(length=64), nullable=True))
        table.create_index(op.f("ix_participants_client_ref"), ["client_ref"])
    op.execute("UPDATE participants SET client_ref = id WHERE role = 'client'")
    with op.batch_alter_table("sessions") as table:
        table.add_column(sa.Column("note_until", TIME, nullable=True))
        table.add_column(sa.Column("deletion_id", sa.String(length=40), nullable=True))
        table.create_index(op.f("ix_sessions_note_until"), ["note_until"])
        table.create_index(op.f("ix_sessions_deletion_id"), ["deletion_id"])
    op.create_table(
        "holds",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("clinic_id", sa.String(length=64), nullable=False),
        sa.Column("client_ref", sa.String(length=64), nullable=True),
        sa.Column("session_id", sa.String(length=40), nullable=True),
        sa.Column("matter", sa.String(length=128), nullable=False),
        sa.Column("placed_by", sa.String(length=128), nullable=False),
        sa.Column("placed_at", TIME, nullable=False),
        sa.Column("lifted_by", sa.String(length=128), nullable=True),
        sa.Column("lifted_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index(op.f("ix_holds_clinic_id"), "holds", ["clinic_id"])
    op.create_index(op.f("ix_holds_client_ref"), "holds", ["client_ref"])
    op.create_index(op.f("ix_holds_session_id"), "holds", ["session_id"])
    op.create_table(
        "deletions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("clinic_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("keys_gone_at", TIME, nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("receipt_id", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
    )
    op.create_index(op.f("ix_deletions_clinic_id"), "deletions", ["clinic_id"])
    op.create_index(op.f("ix_deletions_done_at"), "deletions", ["done_at"])
    op.create_table(
        "clinic_receipts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("clinic_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clinic_receipts")),
    )
    op.create_index(op.f("ix_clinic_receipts_clinic_id"), "clinic_receipts", ["clinic_id"])
    op.create_index(op.f("ix_clinic_receipts_session_id"), "clinic_receipts", ["session_id"])
