"""Webhooks: secrets that are being replaced, why an endpoint is off, and a log of deliveries that stands by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# an event is never removed, so that each delivery has its own
KIND = """
    UPDATE deliveries SET tries = attempts, kind = (
        SELECT e.kind FROM session_events AS e
        WHERE e.session_id = deliveries.session_id AND e.seq = deliveries.event_seq
    )
"""
AT = """
    UPDATE deliveries SET "at" = (
        SELECT e."at" FROM session_events AS e
        WHERE e.session_id = deliveries.session_id AND e.seq = deliveries.event_seq
    )
"""


def upgrade() -> None:
    with op.batch_alter_table("webhooks") as table:
        table.add_column(sa.Column("sealed_retired", sa.LargeBinary(), nullable=True))
        table.add_column(sa.Column("retired_until", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("enabled_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("disabled_reason", sa.String(length=16), nullable=True))
    op.execute("UPDATE webhooks SET enabled_at = created_at")
    op.execute("UPDATE webhooks SET disabled_reason = 'gone' WHERE disabled_at IS NOT NULL")
    with op.batch_alter_table("webhooks") as table:
        table.alter_column("enabled_at", existing_type=sa.DateTime(timezone=True), nullable=False)

    with op.batch_alter_table("deliveries") as table:
        table.add_column(sa.Column("kind", sa.String(length=48), nullable=True))
        table.add_column(sa.Column("at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("last_error", sa.String(length=24), nullable=True))
        table.alter_column("session_id", existing_type=sa.String(length=40), nullable=True)
        table.alter_column("event_seq", existing_type=sa.Integer(), nullable=True)
    op.execute(KIND)
    op.execute(AT)
    with op.batch_alter_table("deliveries") as table:
        table.alter_column("kind", existing_type=sa.String(length=48), nullable=False)
        table.alter_column("at", existing_type=sa.DateTime(timezone=True), nullable=False)
    op.create_index(op.f("ix_deliveries_at"), "deliveries", ["at"], unique=False)
    op.create_index(op.f("ix_session_events_at"), "session_events", ["at"], unique=False)
