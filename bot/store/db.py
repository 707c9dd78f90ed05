"""The database: one engine, one-transaction reads and writes, and the way to leave nothing behind in SQLite's files.

SQLite has one writer at a time. Writers of this process queue here in order instead of polling SQLite's lock; other
processes are waited for by ``busy_timeout``. Every failure of the database itself becomes one
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
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from bot.errors import StorageUnavailable
from bot.store import migrate
from bot.store.keyfiles import private_folder

log = structlog.get_logger()

BUSY_TIMEOUT_MS = 5000
WRITER_WAIT_S = 30.0
"""Longest wait for this process's other writers."""
FULL_BYTES = 256 * 1024
"""Free space in which a new database has no room."""
CHECKPOINT_WAIT_S = 10.0
CHECKPOINT_RETRY_S = 0.05

_BEGIN = "quietnote_begin"
"""Execution option: the statement that opens a transaction on SQLite; empty for none."""


class Database:
    """Where everything but keys and sealed audio is kept."""

    def __init__(self, url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._busy_timeout_ms = busy_timeout_ms
        self._engine: AsyncEngine | None = None
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
            cause = _cause(error, self.is_sqlite)
            if cause == "io" and await asyncio.to_thread(_is_full, self.url):
                cause = "full"  # without room for its own notes, SQLite cannot say why
            raise StorageUnavailable("database", cause) from None  # whoever opens it tells it
        except OSError as error:
            raise StorageUnavailable.of("database", error) from None
        engine = create_async_engine(self.url, hide_parameters=True, pool_pre_ping=not self.is_sqlite)
        if self.is_sqlite:
            event.listen(engine.sync_engine, "connect", self._prepare)
            event.listen(engine.sync_engine, "begin", _begin)
        self._engine = engine

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

    @contextlib.asynccontextmanager
    async def _transaction(self, begin: str, *, commit: bool) -> AsyncIterator[AsyncSession]:
        bind = self.engine.execution_options(**{_BEGIN: begin})
        try:
            async with AsyncSession(bind, expire_on_commit=False) as session:
                yield session
                if commit:
                    await session.commit()
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise _unavailable(error, self.is_sqlite) from None

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
        if engine is not None:
            await engine.dispose()


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
    words = str(error.orig).lower()
    other = "io" if is_sqlite else "unreachable"
    return next((cause for cause, marks in _CAUSES if any(mark in words for mark in marks)), other)


def _unavailable(error: DBAPIError, is_sqlite: bool) -> StorageUnavailable:
    cause = _cause(error, is_sqlite)
    log.error("database_unavailable", cause=cause, error=type(error).__name__)
    return StorageUnavailable("database", cause)
