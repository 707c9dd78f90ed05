"""The audit chain made whole: the session an entry belongs to, by whose credentials, and one word of detail.

Nothing was appended to it by any release before this one, so that the table is made anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.drop_index(op.f("ix_audit_clinic_id"), table_name="audit")
    op.drop_table("audit")
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("clinic_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("through", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("detail", sa.String(length=128), nullable=False),
        sa.Column("previous_sha256", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("previous_sha256", name=op.f("uq_audit_previous_sha256")),
    )
    op.create_index(op.f("ix_audit_clinic_id"), "audit", ["clinic_id"], unique=False)
    op.create_index(op.f("ix_audit_session_id"), "audit", ["session_id"], unique=False)
