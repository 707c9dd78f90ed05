"""What is due, who is told before, and a purge that the database does not take."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.errors import StorageUnavailable, TranscriptPurged
from bot.events import CaptureState, NoteState, Role, TranscriptState
from bot.store.audit import AuditStore
from bot.store.db import Database
from bot.store.models import SessionRow
from bot.store.retention import Overdue
from bot.store.sessions import SessionStore

from .conftest import NEW, ON_BOTH, final

DAY = timedelta(days=1)


async def ended(store: SessionStore, clock: ManualClock, *, days: float = 7) -> str:
    """A session that ended now, with words."""
    session_id = (await store.create(NEW)).id
    lane = await store.ensure_lane(session_id, "cl", Role.CLIENT)
    await store.change(session_id, "capture.consent_pending", capture=CaptureState.CONSENT_PENDING)
    begun: dict[str, Any] = {"capture": CaptureState.CAPTURING, "transcript": TranscriptState.LIVE, "audio": "held"}
    await store.change(session_id, "capture.started", **begun)
    await store.commit_final(session_id, final(lane.id, "what was said"))
    now = clock.now()
    times: dict[str, Any] = {"ended_at": now, "purge_at": now + timedelta(days=days), "erase_by": now + DAY}
    await store.change(session_id, "capture.finished", capture=CaptureState.FINISHED, **times)
    await store.change(session_id, "transcript.ready", transcript=TranscriptState.READY)
    return session_id


@ON_BOTH
async def test_who_is_warned_and_what_is_overdue(store: SessionStore, clock: ManualClock) -> None:
    session_id = await ended(store, clock)
    assert await store.warn_expiring(clock.now()) == 0
    clock.advance(6 * DAY.total_seconds())
    assert await asyncio.gather(*(store.warn_expiring(clock.now()) for _ in range(3))) != [1, 1, 1]
    items, _ = await store.inbox("harbour")
    assert [(item.kind, item.session_id, item.clinician_user_id) for item in items] == [
        ("transcript_expiring", session_id, "usr_1")
    ]
    assert await store.overdue(clock.now()) == Overdue(audio=1, transcripts=0)
    clock.advance(DAY.total_seconds())
    assert await store.warn_expiring(clock.now()) == 0
    assert await store.overdue(clock.now()) == Overdue(audio=1, transcripts=1)
    await store.purge_transcript(session_id, "retention")
    assert (await store.overdue(clock.now())).transcripts == 0


@ON_BOTH
async def test_a_purge_is_an_entry_of_its_own_once(
    store: SessionStore, clock: ManualClock, db: Database
) -> None:
    session_id = await ended(store, clock)
    for _ in range(2):
        await store.purge_transcript(session_id, "retention")
    entries = await AuditStore(db, clock).entries("harbour", limit=100)
    assert [(e.actor, e.target, e.detail) for e in entries if e.action == "transcript.purged"] == [
        ("system", session_id, "retention")
    ]


async def test_a_purge_beside_a_process_that_holds_the_database(
    store: SessionStore, clock: ManualClock, tmp_path: Path
) -> None:
    session_id = await ended(store, clock)
    other = sqlite3.connect(tmp_path / "data" / "quietnote.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StorageUnavailable) as caught:
            await store.purge_transcript(session_id, "retention")
        assert caught.value.cause == "locked"
        with pytest.raises(TranscriptPurged):  # its key is gone
            await store.transcript(session_id)
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert (await store.get(session_id)).transcript is TranscriptState.READY
    await store.purge_transcript(session_id, "retention")
    assert (await store.get(session_id)).transcript is TranscriptState.PURGED


async def test_a_later_part_is_warned_of_anew(store: SessionStore, clock: ManualClock, db: Database) -> None:
    session_id = await ended(store, clock)
    clock.advance(6.5 * DAY.total_seconds())
    assert await store.warn_expiring(clock.now()) == 1
    async with db.write() as session:
        row = await session.get_one(SessionRow, session_id)
        row.part, row.ended_at, row.purge_at = 2, clock.now(), clock.now() + 7 * DAY
    assert await store.warn_expiring(clock.now()) == 0
    clock.advance(6.5 * DAY.total_seconds())
    assert await store.warn_expiring(clock.now()) == 1


@pytest.mark.parametrize("note", [NoteState.SIGNED, NoteState.DISCARDED])
async def test_a_closed_note_has_no_use_for_words(
    store: SessionStore, clock: ManualClock, db: Database, note: NoteState
) -> None:
    session_id = await ended(store, clock)
    async with db.write() as session:
        (await session.get_one(SessionRow, session_id)).note = note.value
    clock.advance(6.5 * DAY.total_seconds())
    assert await store.warn_expiring(clock.now()) == 0
