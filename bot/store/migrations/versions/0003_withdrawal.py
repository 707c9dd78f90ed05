"""What people agreed to, word for word, the link to their copy of it, and who took it back."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "consent_texts",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_consent_texts")),
    )
    op.create_table(
        "consent_links",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("participant_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_consent_links_session_id_sessions")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_consent_links")),
    )
    op.create_index(op.f("ix_consent_links_session_id"), "consent_links", ["session_id"])
    with op.batch_alter_table("sessions") as table:
        table.add_column(sa.Column("withdrawn_by", sa.String(length=64), nullable=True))
