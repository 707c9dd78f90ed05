"""Alembic's entry: runs on the connection that bot.store.migrate hands in."""

from alembic import context

from bot.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
