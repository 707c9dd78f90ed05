"""Who sits at somebody else's page and microphone."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("participants") as table:
        table.add_column(sa.Column("shares_with", sa.String(length=64), nullable=True))
