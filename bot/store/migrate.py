"""Brings the tables up to date: alembic, run from code, so that an installed wheel needs no command and no ini file.

All of it is one transaction: a process that is killed meanwhile leaves the tables as they were, and of several
processes that start together one migrates while the others wait.
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from bot.errors import SetupError
from bot.store.postgres import lock_number, sync_url

FOLDER = Path(__file__).with_name("migrations")
WAIT_S = 30
"""Longest wait for another process that migrates."""
_one_at_a_time = threading.Lock()  # alembic keeps its context in module globals


class DatabaseTooNew(SetupError):
    """The tables were made by a release that this one does not know."""

    def __init__(self) -> None:
        super().__init__("the database belongs to a newer release of Quietnote; use that one, or restore a backup")


def config_for(connection: Connection) -> Config:
    """Alembic's configuration for an open connection."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: URL, revision: str = "head") -> None:
    """Bring the database at ``url`` (its async form) to ``revision``. Blocks. Raises DatabaseTooNew."""
    sqlite = url.get_backend_name() == "sqlite"
    sync = url.set(drivername="sqlite+pysqlite") if sqlite else sync_url(url)
    engine = create_engine(sync, poolclass=NullPool, hide_parameters=True)
    if sqlite:
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with _one_at_a_time, engine.begin() as connection:
            if not sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": lock_number("migration")})
            command.upgrade(config_for(connection), revision)
    except CommandError:
        raise DatabaseTooNew from None
    finally:
        engine.dispose()


def _prepare(dbapi_connection: object, _record: object) -> None:
    dbapi_connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]
    cursor.execute(f"PRAGMA busy_timeout={WAIT_S * 1000}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
