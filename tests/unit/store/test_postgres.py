"""What PostgreSQL does otherwise than SQLite: many writers at once, and a server that says no, or says nothing."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from bot.clinics import ClinicConfig
from bot.clock import ManualClock
from bot.errors import ConfigInvalid, StorageUnavailable
from bot.events import BotState, ConsentState, Role
from bot.store.audit import AuditStore
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.models import Base, ClinicRow
from bot.store.postgres import DatabaseRefused, sync_url
from bot.store.receipts import ReceiptSigner
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.vault import FileVault
from bot.store.webhook_store import WebhookStore
from tests.conftest import missing_part
from tests.postgres_server import PostgresServer, running_server

from .conftest import CLINIC, NEW, final

pytestmark = pytest.mark.parametrize("db_url", ["postgres"], indirect=True)
PROCESSES = 3
PEOPLE = tuple(replace(person, invite_code=None) for person in NEW.participants)


@pytest.fixture
async def others(db_url: str) -> AsyncIterator[list[Database]]:
    """The same database, opened by other processes."""
    databases = [Database(db_url) for _ in range(PROCESSES)]
    await asyncio.gather(*(database.open() for database in databases))
    yield databases
    await asyncio.gather(*(database.close() for database in databases))


@pytest.fixture
def stores(others: list[Database], vault: FileVault, clock: ManualClock) -> list[SessionStore]:
    return [SessionStore(database, vault, clock) for database in others]


# -- many writers -----------------------------------------------------------------------------------------------------


async def test_the_migrations_make_exactly_the_tables_of_the_models(db: Database, db_url: str) -> None:
    engine = create_engine(sync_url(make_url(db_url)))
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
    finally:
        engine.dispose()


async def test_several_processes_that_start_together_migrate_and_seed_once(
    db_url: str, postgres_server: PostgresServer, clock: ManualClock
) -> None:
    url = postgres_server.new_database(empty=True)
    databases = [Database(url) for _ in range(PROCESSES)]
    await asyncio.gather(*(database.open() for database in databases))
    files = {name: CLINIC.model_copy(update={"id": name}) for name in ("one", "two")}
    seeded = await asyncio.gather(*(ClinicStore(database, clock).seed(files) for database in databases))
    await asyncio.gather(*(database.close() for database in databases))
    postgres_server.drop(url)
    assert Counter(name for names in seeded for name in names) == {"one": 1, "two": 1}


async def test_events_have_one_order_over_all_processes(stores: list[SessionStore], session: SessionRecord) -> None:
    changes = [store.change(session.id, f"k{n}") for n in range(7) for store in stores]
    records = await asyncio.gather(*changes)
    assert sorted(record.seq for record in records) == list(range(2, 2 + len(changes)))
    assert [event.seq for event in await stores[0].events(session.id)] == list(range(1, 2 + len(changes)))


async def test_the_audit_is_one_chain_over_all_processes(
    others: list[Database], stores: list[SessionStore], session: SessionRecord, clock: ManualClock, vault: FileVault
) -> None:
    await asyncio.gather(*(store.add_input(session.id, "clinician_summary", "x", "usr_1") for store in stores * 6))
    verdict = await AuditStore(others[0], clock, _signer(vault)).verify()
    assert verdict.ok, verdict
    assert verdict.entries >= PROCESSES * 6


def _signer(vault: FileVault) -> ReceiptSigner:
    return ReceiptSigner.load(vault._folder)


async def test_twins_at_two_processes_have_one_effect(stores: list[SessionStore], session: SessionRecord) -> None:
    async def taken(store: SessionStore) -> bool:
        try:
            return await store.idempotency_begin("harbour", "key", "hash") is None
        except Exception as error:  # noqa: BLE001
            return type(error).__name__ != "IdempotencyConflict"

    assert sum(await asyncio.gather(*(taken(store) for store in stores * 3))) == 1
    made = await asyncio.gather(*(store.inbox_add(session.id, "failed", dedupe="failed:1") for store in stores * 3))
    assert sum(item is not None for item in made) == 1
    await asyncio.gather(*(store.remember_ack(session.id, "dr", "m1", {"n": n}) for n, store in enumerate(stores)))
    assert len(await stores[0].acks(session.id, limit=9)) == 1
    lanes = await asyncio.gather(*(store.ensure_lane(session.id, "cl", Role.CLIENT) for store in stores * 3))
    assert len({lane.id for lane in lanes}) == 1
    sessions = await asyncio.gather(*(store.create(replace(NEW, participants=PEOPLE)) for store in stores))
    shown: dict[str, Any] = {"method": "in_call", "text_version": "1", "text_sha256": "", "by": "cl", "text": "x"}
    await asyncio.gather(
        *(
            store.record_consent(one.id, "cl", ConsentState.DECLINED, **shown)
            for store, one in zip(stores, sessions, strict=True)
        )
    )


async def test_a_webhook_is_queued_once_and_claimed_once(
    others: list[Database], session: SessionRecord, store: SessionStore, vault: FileVault, clock: ManualClock
) -> None:
    hooks = [WebhookStore(database, vault, clock) for database in others]
    clock.advance(1)
    await hooks[0].add("harbour", "https://clinic.example/hook")
    for n in range(4):
        clock.advance(1)
        await store.change(session.id, "bot.state_changed", data={"n": n})
    await asyncio.gather(*(hook.catch_up() for hook in hooks))
    claimed = await asyncio.gather(*(hook.claim(limit=50, hold=timedelta(seconds=60)) for hook in hooks))
    ids = [delivery.id for deliveries in claimed for delivery in deliveries]
    assert len(ids) == len(set(ids)) == 4


async def test_a_turn_is_one_processes_and_ends_with_it(others: list[Database]) -> None:
    first, second, _ = others
    async with first.turn("sweep", wait=False) as mine, second.turn("sweep", wait=False) as theirs:
        assert (mine, theirs) == (True, False)
        async with second.turn("another") as free:
            assert free
    async with second.turn("sweep", wait=False) as theirs:
        assert theirs


async def test_who_wants_a_database_alone_has_it_alone(db_url: str) -> None:
    async def reserved(alone: bool) -> tuple[Database, bool]:
        database = Database(db_url)
        await database.open()
        return database, await database.reserve(alone=alone)

    shared = [await reserved(alone=False) for _ in range(2)]
    refused = await reserved(alone=True)
    assert [got for _, got in [*shared, refused]] == [True, True, False]
    for database, _ in [*shared, refused]:
        await database.close()
    alone, late = await reserved(alone=True), await reserved(alone=False)
    assert (alone[1], late[1]) == (True, False)
    await alone[0].close()
    await late[0].close()


async def test_a_read_sees_one_moment(others: list[Database], session: SessionRecord, store: SessionStore) -> None:
    async with others[0].read() as reading:
        before = await reading.scalar(text("SELECT seq FROM sessions"))
        await store.change(session.id, "bot.state_changed", bot=BotState.REQUESTED)
        assert await reading.scalar(text("SELECT seq FROM sessions")) == before


# -- the server says no -----------------------------------------------------------------------------------------------


async def cause_of(work: Any) -> str:
    with pytest.raises(StorageUnavailable) as caught:
        await work
    assert caught.value.__cause__ is None
    assert caught.value.retryable
    return caught.value.cause


async def test_locked_by_another_process(session: SessionRecord, db_url: str, vault: FileVault) -> None:
    impatient = Database(db_url, busy_timeout_ms=50)
    await impatient.open()
    store = SessionStore(impatient, vault, ManualClock())
    with held_by_another(db_url, session.id):
        assert await cause_of(store.change(session.id, "x")) == "locked"
        assert (await store.get(session.id)).seq == session.seq
    assert (await store.change(session.id, "x")).seq == session.seq + 1
    await impatient.close()


@contextmanager
def held_by_another(url: str, session_id: str) -> Iterator[None]:
    """Another process in the middle of a change of a session."""
    engine = create_engine(sync_url(make_url(url)))
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM sessions WHERE id = :id FOR UPDATE"), {"id": session_id})
            yield
    finally:
        engine.dispose()


async def test_read_only(db: Database, db_url: str, postgres_server: PostgresServer, vault: FileVault) -> None:
    name = db_url.rpartition("/")[2]
    store = SessionStore(db, vault, ManualClock())
    await ClinicStore(db, ManualClock()).seed({CLINIC.id: CLINIC})
    postgres_server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres_server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert await cause_of(store.create(NEW)) == "read_only"
    assert (await store.list("harbour"))[0] == []


async def test_a_full_disk(
    session: SessionRecord, store: SessionStore, db_url: str, postgres_server: PostgresServer
) -> None:
    """The server's own word for it, raised where it would be raised."""
    name = db_url.rpartition("/")[2]
    lane = await store.ensure_lane(session.id, "cl", Role.CLIENT)
    postgres_server.run(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
        name,
    )
    postgres_server.run("CREATE TRIGGER no_room BEFORE INSERT ON segments EXECUTE FUNCTION full_disk()", name)
    assert await cause_of(store.commit_final(session.id, final(lane.id, "kept", n=0))) == "full"
    postgres_server.run("DROP TRIGGER no_room ON segments", name)
    await store.commit_final(session.id, final(lane.id, "kept", n=0))
    assert [s.text for s in (await store.transcript(session.id)).segments] == ["kept"]


async def test_a_character_that_it_does_not_take_is_the_askers_fault(store: SessionStore) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be stored"):
        await store.get("ses_\0")


async def test_a_fault_of_ours_is_not_the_servers(db: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with db.write() as session:
            session.add(ClinicRow(id="much too long " * 10, version=1))
    assert "much too long" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "password"),
        ({"username": "nobody"}, "password"),
        ({"database": "nowhere"}, "no database of that name"),
    ],
)
async def test_a_server_that_will_not_have_us_is_one_line(db_url: str, change: dict[str, str], said: str) -> None:
    url = make_url(db_url).set(**change).render_as_string(hide_password=False)  # type: ignore[arg-type]
    with pytest.raises(DatabaseRefused, match=said) as caught:
        await Database(url).open()
    assert "wrong" not in str(caught.value).split(":")[0]
    assert "@" not in str(caught.value)


async def test_a_server_that_goes_away_and_comes_back(db_url: str, vault: FileVault, clock: ManualClock) -> None:
    with running_server(missing_part) as server:
        url = server.new_database()
        database = Database(url)
        await database.open()
        store = SessionStore(database, vault, clock)
        await ClinicStore(database, clock).seed({CLINIC.id: ClinicConfig(id="harbour", name="H")})
        session = await store.create(NEW)
        server.stop(number=signal.SIGQUIT)
        assert await cause_of(store.change(session.id, "x")) == "unreachable"
        assert await cause_of(store.get(session.id)) == "unreachable"
        assert await cause_of(Database(url).open()) == "unreachable"
        server.start()
        assert (await store.change(session.id, "x")).seq == session.seq + 1, "what was committed is there"
        await database.close()
