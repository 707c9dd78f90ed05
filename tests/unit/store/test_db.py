from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from blockbuster import blockbuster_ctx
from sqlalchemy import Connection, create_engine, event, select, text

from bot.clock import ManualClock
from bot.errors import NotFound, QuietnoteError, StorageUnavailable
from bot.events import BotState, CaptureState
from bot.store import migrate
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.migrate import DatabaseTooNew
from bot.store.models import Base, ClinicRow
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.vault import FileVault

from .conftest import CLINIC, NEW, final


async def pragma(db: Database, name: str) -> object:
    async with db.read() as session:
        return await session.scalar(text(f"PRAGMA {name}"))


async def test_the_connection_is_set_up_to_leave_nothing_behind(db: Database, tmp_path: Path) -> None:
    assert await pragma(db, "journal_mode") == "wal"
    assert await pragma(db, "secure_delete") == 1
    assert await pragma(db, "foreign_keys") == 1
    assert await pragma(db, "synchronous") == 2, "what is committed outlives a power cut: its sound is erased then"
    for path in (tmp_path / "data").glob("quietnote.db*"):
        assert path.stat().st_mode & 0o077 == 0, path.name


async def test_the_migrations_make_exactly_the_tables_of_the_models(db: Database, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'data' / 'quietnote.db'}")
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
    finally:
        engine.dispose()


async def test_opening_again_migrates_nothing_and_keeps_everything(db: Database, db_url: str) -> None:
    async with db.write() as session:
        session.add(ClinicRow(id="kept", version=1))
    again = Database(db_url)
    await again.open()
    async with again.read() as session:
        assert await session.scalar(select(ClinicRow.id)) == "kept"
    await again.close()


async def test_several_processes_may_start_together(db_url: str) -> None:
    databases = [Database(db_url) for _ in range(3)]
    await asyncio.gather(*(database.open() for database in databases))
    await asyncio.gather(*(database.close() for database in databases))


async def test_a_migration_that_fails_leaves_the_tables_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    url = f"sqlite+aiosqlite:///{tmp_path / 'half.db'}"
    with monkeypatch.context() as patch:
        patch.setattr("alembic.operations.Operations.create_index", fails)
        with pytest.raises((StorageUnavailable, sqlite3.OperationalError)):
            await Database(url).open()
    with sqlite3.connect(tmp_path / "half.db") as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    raw.close()
    whole = Database(url)
    await whole.open()
    await whole.close()


async def test_a_database_of_a_newer_release_is_left_alone(db: Database, db_url: str) -> None:
    async with db.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="newer release"):
        await Database(db_url).open()


async def test_closing_ends_every_thread(db_url: str) -> None:
    before = threading.active_count()
    database = Database(db_url)
    await database.open()

    async def read() -> None:
        async with database.read() as session:
            await session.scalar(text("SELECT 1"))

    await asyncio.gather(*(read() for _ in range(5)))
    await database.close()
    await database.close()
    gc.collect()
    names = [t.name for t in threading.enumerate() if not t.name.startswith("asyncio_")]
    assert len(names) <= before, names
    with pytest.raises(StorageUnavailable):
        await read()


async def test_a_write_is_whole_or_not_at_all(db: Database) -> None:
    async def half() -> None:
        async with db.write() as session:
            session.add(ClinicRow(id="half", version=1))
            await session.flush()
            raise NotFound

    with pytest.raises(NotFound):
        await half()
    async with db.read() as session:
        assert (await session.scalars(select(ClinicRow))).all() == []


async def test_a_cancelled_write_is_undone_and_frees_the_writer(db: Database) -> None:
    inside = asyncio.Event()

    async def slow() -> None:
        async with db.write() as session:
            session.add(ClinicRow(id="slow", version=1))
            await session.flush()
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(slow())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.write() as session:
        assert (await session.scalars(select(ClinicRow))).all() == []
        session.add(ClinicRow(id="next", version=1))


async def test_writers_take_turns(db: Database) -> None:
    async with db.write() as session:
        session.add(ClinicRow(id="count", version=0))

    async def add_one() -> None:
        async with db.write() as session:
            row = await session.get_one(ClinicRow, "count")
            await asyncio.sleep(0)
            row.version += 1

    await asyncio.gather(*(add_one() for _ in range(40)))
    async with db.read() as session:
        assert (await session.get_one(ClinicRow, "count")).version == 40


async def test_the_loop_is_never_blocked(store: SessionStore, session: SessionRecord, vault: FileVault) -> None:
    lane = await store.ensure_lane(session.id, "cl", NEW.participants[1].role)
    with blockbuster_ctx("bot"):
        await store.change(session.id, "bot.state_changed", bot=BotState.REQUESTED)
        await store.commit_final(session.id, final(lane.id, "Fine, thank you."))
        await store.transcript(session.id)
        await store.participants(session.id)
        vault.seal(f"words:{session.id}", "live", b"a caption")  # an open key is used without touching the disk
        await store.purge_transcript(session.id, "withdrawn")


# -- the database says no ---------------------------------------------------------------------------------------------


async def test_locked_by_another_process(
    store: SessionStore, session: SessionRecord, db: Database, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "data" / "quietnote.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StorageUnavailable) as caught:
            await store.change(session.id, "capture.started", capture=CaptureState.CONSENT_PENDING)
        assert caught.value.cause == "locked"
        assert caught.value.retryable
        assert (await store.get(session.id)).seq == session.seq  # reading goes on, nothing changed
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert (await store.change(session.id, "x", capture=CaptureState.CONSENT_PENDING)).seq == session.seq + 1


async def test_a_full_disk(store: SessionStore, session: SessionRecord, db: Database) -> None:
    lane = await store.ensure_lane(session.id, "cl", NEW.participants[1].role)
    await store.commit_final(session.id, final(lane.id, "kept", n=0))
    room = 1

    def limit(connection: Connection) -> None:
        pages: int = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + room}")

    event.listen(db.engine.sync_engine, "begin", limit)
    with pytest.raises(StorageUnavailable) as caught:
        await store.commit_final(session.id, final(lane.id, "much too long " * 4000, n=1))
    assert caught.value.cause == "full"
    assert "much" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert [s.text for s in (await store.transcript(session.id)).segments] == ["kept"]
    assert (await store.lanes(session.id))[0].committed_through_sample == 16_000
    room = 1_000_000
    await store.commit_final(session.id, final(lane.id, "room again", n=1))
    assert [s.text for s in (await store.transcript(session.id)).segments] == ["kept", "room again"]


async def test_read_only(store: SessionStore, session: SessionRecord, db: Database) -> None:
    def read_only(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=ON")

    event.listen(db.engine.sync_engine, "begin", read_only)
    with pytest.raises(StorageUnavailable) as caught:
        await store.change(session.id, "x", bot=BotState.REQUESTED)
    assert caught.value.cause == "read_only"
    assert (await store.get(session.id)).bot is BotState.ABSENT


async def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "quietnote.db").write_bytes(b"this is no database, it is a letter" * 100)
    with pytest.raises(StorageUnavailable) as caught:
        await Database(f"sqlite+aiosqlite:///{tmp_path / 'quietnote.db'}").open()
    assert caught.value.cause == "damaged"


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(QuietnoteError):
        await Database(f"sqlite+aiosqlite:///{tmp_path / 'file' / 'sub' / 'quietnote.db'}").open()


# -- nothing left -----------------------------------------------------------------------------------------------------


async def test_a_checkpoint_waits_for_readers_and_empties_the_log(db: Database, tmp_path: Path) -> None:
    log = tmp_path / "data" / "quietnote.db-wal"
    async with db.write() as session:
        session.add(ClinicRow(id="one", version=1))
    reader = sqlite3.connect(tmp_path / "data" / "quietnote.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM clinics").fetchall()
    async with db.write() as session:
        session.add(ClinicRow(id="two", version=1))
    task = asyncio.create_task(db.checkpoint())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    assert log.stat().st_size > 0
    reader.execute("ROLLBACK")
    reader.close()
    await task
    assert log.stat().st_size == 0
    async with db.write() as session:
        session.add(ClinicRow(id="three", version=1))


async def test_the_migrator_needs_no_ini_file_and_reads_its_own_folder() -> None:
    assert (migrate.FOLDER / "env.py").is_file()
    assert list((migrate.FOLDER / "versions").glob("0001_*.py"))
    assert migrate.FOLDER.parent.name == "store"


async def test_clinics_are_needed_by_their_versions(db: Database, clock: ManualClock) -> None:
    store = ClinicStore(db, clock)
    assert await store.seed({CLINIC.id: CLINIC}) == ["harbour"]
    assert await store.seed({CLINIC.id: CLINIC}) == []
