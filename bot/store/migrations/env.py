"""Alembic's entry: runs on the connection that bot.store.migrate hands in."""

from alembic import context

from bot.store.chain import AuditRow  # its table is among the metadata
from bot.store.models import Base
from bot.store.record_rows import HoldRow  # and these
from bot.store.serving import ServingRow  # and this one's

assert AuditRow.metadata is HoldRow.metadata is ServingRow.metadata is Base.metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
