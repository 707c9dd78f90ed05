"""What a participant reads, in which language an answer was asked for, and who vouches for one that was not."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("participants") as table:
        table.add_column(sa.Column("language", sa.String(length=35), nullable=True))
    with op.batch_alter_table("consents") as table:
        table.add_column(sa.Column("language", sa.String(length=35), nullable=False, server_default=""))
        table.add_column(sa.Column("attested_by", sa.String(length=64), nullable=True))
        table.add_column(sa.Column("signed_on", sa.Date(), nullable=True))
        table.add_column(sa.Column("document_id", sa.String(length=128), nullable=True))
        table.add_column(sa.Column("until", sa.DateTime(timezone=True), nullable=True))
