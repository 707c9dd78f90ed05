"""A real database and a real vault, in a folder of the test's own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.clinics import ClinicConfig
from bot.clock import ManualClock
from bot.events import Role, Segment, Word
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.sessions import NewParticipant, NewSession, SessionRecord, SessionStore
from bot.store.vault import FileVault

MASTER = bytes(range(32))
CLINIC = ClinicConfig(id="harbour", name="Harbour Practice")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def vault(tmp_path: Path) -> FileVault:
    return FileVault(tmp_path / "data" / "vault", MASTER)


@pytest.fixture
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLite, or PostgreSQL."""
    if getattr(request, "param", "sqlite") == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'quietnote.db'}"


ON_BOTH = pytest.mark.parametrize("db_url", ["sqlite", "postgres"], indirect=True)
"""Runs a test, or with ``pytestmark`` each of a file, on both databases every time."""
ON_SQLITE = pytest.mark.parametrize("db_url", ["sqlite"], indirect=True)
"""For a test that speaks SQLite's own language."""
SQLITES_OWN = frozenset({"test_db"})
"""Files that look into SQLite itself."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses the database on PostgreSQL too, in the long run, unless it looks into the database's own files."""
    chosen = any("db_url" in mark.args for mark in metafunc.definition.iter_markers("parametrize"))
    own_files = "tmp_path" in inspect.signature(metafunc.function).parameters
    name = metafunc.module.__name__.rpartition(".")[2]
    if "db_url" in metafunc.fixturenames and not (chosen or own_files or name in SQLITES_OWN):
        both = ["sqlite", pytest.param("postgres", marks=pytest.mark.soak)]
        metafunc.parametrize("db_url", both, indirect=True)


@pytest.fixture
async def db(db_url: str) -> AsyncIterator[Database]:
    database = Database(db_url, busy_timeout_ms=50 if db_url.startswith("sqlite") else 5000)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def clinics(db: Database, clock: ManualClock) -> ClinicStore:
    store = ClinicStore(db, clock)
    await store.seed({CLINIC.id: CLINIC, "other": CLINIC.model_copy(update={"id": "other"})})
    return store


@pytest.fixture
async def store(db: Database, vault: FileVault, clock: ManualClock, clinics: ClinicStore) -> SessionStore:
    return SessionStore(db, vault, clock)


NEW = NewSession(
    clinic_id="harbour",
    clinician_user_id="usr_1",
    participants=(
        NewParticipant("dr", Role.CLINICIAN, "Dr. Mina Hale"),
        NewParticipant("cl", Role.CLIENT, "Peter Winterbottom", "secret-code"),
    ),
)


@pytest.fixture
async def session(store: SessionStore) -> SessionRecord:
    return await store.create(NEW)


def final(lane_id: str, text: str, *, n: int = 0, participant_id: str = "cl") -> Segment:
    """A final of one second, the ``n``-th of its lane."""
    start = n * 1000
    return Segment(
        segment_id=f"win_{lane_id[-6:]}_{n}",
        rev=1,
        final=True,
        lane_id=lane_id,
        participant_id=participant_id,
        role=Role.CLIENT,
        start_ms=start,
        end_ms=start + 900,
        text=text,
        words=tuple(Word(w, start + i, start + i + 1, 0.9) for i, w in enumerate(text.split())),
        confidence=0.87,
        committed_through_sample=(start + 1000) * 16,
    )
