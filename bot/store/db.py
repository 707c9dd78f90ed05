"""The database: one engine, one-transaction reads and writes, and the way to leave nothing behind in SQLite's files.

SQLite has one writer at a time. Writers of this process queue here in order instead of polling SQLite's lock; other
processes are waited for by ``busy_timeout``. PostgreSQL (:mod:`bot.store.postgres`) has many: there a write holds the
rows that it read to change, and :meth:`Database.turn` what has no row. Every failure of the database itself becomes one
:class:`bot.errors.StorageUnavailable`; statements and their values never reach a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, CursorResult, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from bot.errors import ConfigInvalid, StorageUnavailable
from bot.store import migrate
from bot.store.keyfiles import private_folder
from bot.store.models import Base
from bot.store.postgres import (
    DatabaseRefused,
    cause_of,
    engine_options,
    is_no_text,
    is_ours,
    refusal_of,
    reserve,
    take_turn,
)

log = structlog.get_logger()

BUSY_TIMEOUT_MS = 5000
WRITER_WAIT_S = 30.0
"""Longest wait for this process's other writers."""
FULL_BYTES = 256 * 1024
"""Free space in which a new database has no room."""
TURN_S = 60
"""Longest turn of a process whose turn others wait for."""
CHECKPOINT_WAIT_S = 10.0
CHECKPOINT_RETRY_S = 0.05

_BEGIN = "quietnote_begin"
"""Execution option: the statement that opens a transaction on SQLite; empty for none."""
_ONE_VIEW = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""What a read is on PostgreSQL, as on SQLite: all of it sees the same moment."""


class Database:
    """Where everything but keys and sealed audio is kept."""

    def __init__(self, url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._busy_timeout_ms = busy_timeout_ms
        self._engine: AsyncEngine | None = None
        self._reserving: AsyncConnection | None = None
        self._writer = asyncio.Lock()

    @property
    def engine(self) -> AsyncEngine:
        """The open engine."""
        if self._engine is None:
            raise StorageUnavailable("database", "io")
        return self._engine

    async def open(self) -> None:
        """Make the file if need be, bring the tables up to date, open the engine. Raises StorageUnavailable."""
        if self._engine is not None:
            return
        try:
            if self.is_sqlite:
                await asyncio.to_thread(_make_private_file, self.url)
            await asyncio.to_thread(migrate.upgrade, self.url)
        except DBAPIError as error:
            if not self.is_sqlite and (refused := refusal_of(error.orig)) is not None:
                raise refused from None
            cause = _cause(error, self.is_sqlite)
            if cause == "io" and await asyncio.to_thread(_is_full, self.url):
                cause = "full"  # without room for its own notes, SQLite cannot say why
            raise StorageUnavailable("database", cause) from None  # whoever opens it tells it
        except OSError as error:
            raise StorageUnavailable.of("database", error) from None
        self._engine = self._made()

    def _made(self) -> AsyncEngine:
        options = {} if self.is_sqlite else engine_options(self._busy_timeout_ms)
        try:
            engine = create_async_engine(self.url, hide_parameters=True, **options)
        except ImportError:
            raise DatabaseRefused("PostgreSQL needs the extra `postgres`: pip install 'quietnote[postgres]'") from None
        if self.is_sqlite:
            event.listen(engine.sync_engine, "connect", self._prepare)
            event.listen(engine.sync_engine, "begin", _begin)
        return engine

    def _prepare(self, dbapi_connection: Any, _record: Any) -> None:
        # the driver's own habit of opening transactions is switched off: _begin does it
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        try:
            for pragma in (
                f"busy_timeout={self._busy_timeout_ms}",
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "secure_delete=ON",
                "temp_store=MEMORY",
            ):
                cursor.execute(f"PRAGMA {pragma}")
        finally:
            cursor.close()

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One consistent view; nothing is written."""
        return self._transaction("BEGIN", commit=False)

    def write(self) -> AbstractAsyncContextManager[AsyncSession]:
        """One transaction, committed at the exit, undone by any exception."""
        return self._write()

    @contextlib.asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncSession]:
        async with self._one_writer(), self._transaction("BEGIN IMMEDIATE", commit=True) as session:
            yield session

    @contextlib.asynccontextmanager
    async def _one_writer(self) -> AsyncIterator[None]:
        if not self.is_sqlite:
            yield
            return
        try:
            async with asyncio.timeout(WRITER_WAIT_S):
                await self._writer.acquire()
        except TimeoutError:
            raise StorageUnavailable("database", "locked") from None
        try:
            yield
        finally:
            self._writer.release()

    async def reserve(self, *, alone: bool) -> bool:
        """Use the database ``alone``, or with others that share it, until it is closed; False where that cannot be.

        On SQLite the data folder's own lock says who uses it.
        """
        if self.is_sqlite:
            return True
        connection = self._reserving = await self.engine.connect()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        return await reserve(connection, alone=alone)

    @contextlib.asynccontextmanager
    async def turn(self, name: str, *, wait: bool = True, at_most_s: int = TURN_S) -> AsyncIterator[bool]:
        """Hold ``name`` against every other process; it ends with the block, or with the process.

        A process that stands still loses it after ``at_most_s``. Without ``wait``, False where another one holds it. On
        SQLite a data folder has one process, which has it.
        """
        if self.is_sqlite:
            yield True
            return
        async with self._transaction("", commit=True) as session:
            await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{at_most_s:d}s'"))
            yield await take_turn(session, name, wait=wait)

    @contextlib.asynccontextmanager
    async def _transaction(self, begin: str, *, commit: bool) -> AsyncIterator[AsyncSession]:
        bind = self.engine.execution_options(**{_BEGIN: begin}, **({} if self.is_sqlite or commit else _ONE_VIEW))
        try:
            async with AsyncSession(bind, expire_on_commit=False) as session:
                if not self.is_sqlite:
                    await _connected(session)
                yield session
                if commit:
                    await session.commit()
        except IntegrityError:
            raise
        except DBAPIError as error:
            if not self.is_sqlite and is_no_text(error.orig):
                raise ConfigInvalid("A text has a character in it that cannot be stored.") from None
            if not self.is_sqlite and is_ours(error.orig):
                raise
            raise _unavailable(error, self.is_sqlite) from None
        except PoolTimeoutError:
            log.error("database_unavailable", cause="locked", error="PoolTimeoutError")
            raise StorageUnavailable("database", "locked") from None

    async def checkpoint(self) -> None:
        """Bring SQLite's log into the file and empty it, so that nothing deleted stays readable in it.

        Tried again while a reader holds the log; raises StorageUnavailable (``locked``) after ten seconds.
        """
        if not self.is_sqlite:
            return
        async with self._one_writer():
            for _ in range(int(CHECKPOINT_WAIT_S / CHECKPOINT_RETRY_S)):
                if await self._truncate_log():
                    return
                await asyncio.sleep(CHECKPOINT_RETRY_S)
        log.warning("checkpoint_not_possible")
        raise StorageUnavailable("database", "locked")

    async def _truncate_log(self) -> bool:
        try:
            async with self.engine.execution_options(**{_BEGIN: ""}).connect() as connection:
                # SQLite's own wait is left out: each try answers at once, so that the writer's turn stays short
                await connection.exec_driver_sql("PRAGMA busy_timeout=0")
                try:
                    answer = (await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).one()
                finally:
                    await connection.exec_driver_sql(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        except DBAPIError as error:
            unavailable = _unavailable(error, self.is_sqlite)
            if unavailable.cause == "locked":
                return False
            raise unavailable from None
        return int(answer[0]) == 0

    async def close(self) -> None:
        """Close every connection and its thread. Idempotent."""
        engine, self._engine = self._engine, None
        reserving, self._reserving = self._reserving, None
        if reserving is not None:
            with contextlib.suppress(DBAPIError, OSError):
                await reserving.invalidate()  # its lock belongs to the connection, which must not go back to the pool
                await reserving.close()
        if engine is not None:
            await engine.dispose()


async def insert_new(db: AsyncSession, table: type[Base], **values: Any) -> bool:
    """Add a row unless one of its key is there already, also one that another process adds at this very moment."""
    make = sqlite.insert if db.get_bind().dialect.name == "sqlite" else postgresql.insert
    done = await db.execute(make(table).values(**values).on_conflict_do_nothing())
    return cast("CursorResult[Any]", done).rowcount > 0


async def _connected(session: AsyncSession) -> None:
    """Reach the server now: what drivers raise where they cannot must not be taken for a fault of the block."""
    try:
        await session.connection()
    except (DBAPIError, PoolTimeoutError):
        raise
    except Exception as error:  # noqa: BLE001  asyncpg's own classes and the system's, none of them wrapped
        log.error("database_unavailable", cause="unreachable", error=type(error).__name__)
        raise StorageUnavailable("database", cause_of(error)) from None


def _begin(connection: Connection) -> None:
    statement = cast("str", connection.get_execution_options().get(_BEGIN, "BEGIN"))
    if statement:
        connection.exec_driver_sql(statement)


def _make_private_file(url: URL) -> None:
    """Create the database file readable by its owner only; SQLite gives its log the same mode."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return
    path = Path(url.database)
    private_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _is_full(url: URL) -> bool:
    """True when the disk of a file has next to nothing left."""
    try:
        return bool(url.database) and shutil.disk_usage(Path(str(url.database)).parent).free < FULL_BYTES
    except OSError:
        return False


_CAUSES = (
    ("full", ("database or disk is full", "no space left", "disk full")),
    ("locked", ("locked", "busy", "deadlock", "lock timeout")),
    ("read_only", ("readonly", "read-only")),
    ("damaged", ("malformed", "not a database", "no such table", "corrupt")),
)


def _cause(error: DBAPIError, is_sqlite: bool) -> str:
    if not is_sqlite:
        return cause_of(error.orig)
    words = str(error.orig).lower()
    return next((cause for cause, marks in _CAUSES if any(mark in words for mark in marks)), "io")


def _unavailable(error: DBAPIError, is_sqlite: bool) -> StorageUnavailable:
    cause = _cause(error, is_sqlite)
    log.error("database_unavailable", cause=cause, error=type(error).__name__)
    return StorageUnavailable("database", cause)
