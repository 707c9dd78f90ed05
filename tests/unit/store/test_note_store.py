from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.errors import (
    IdempotencyConflict,
    InvalidTransition,
    NotFound,
    PreconditionFailed,
    SessionLocked,
    StorageUnavailable,
    TranscriptPurged,
)
from bot.events import AudioState, CaptureState, ConsentState, NoteState, Role, TranscriptState
from bot.store.db import Database
from bot.store.sessions import SessionRecord, SessionStore

from .conftest import NEW, final

CONTENT = b'{"sections":[{"text":"Client reported poor sleep."}]}'


@pytest.fixture
async def drafted(store: SessionStore, session: SessionRecord) -> SessionRecord:
    lane = await store.ensure_lane(session.id, "cl", Role.CLIENT)
    await store.change(session.id, "x", capture=CaptureState.CAPTURING)
    await store.commit_final(session.id, final(lane.id, "I slept badly."))
    await store.change(
        session.id, "x", capture=CaptureState.FINISHED, transcript=TranscriptState.READY, note=NoteState.QUEUED
    )
    await store.change(session.id, "note.generating", note=NoteState.GENERATING)
    await store.save_note(session.id, CONTENT)
    return await store.get(session.id)


async def test_inputs_are_kept_sealed(store: SessionStore, session: SessionRecord, tmp_path: Path) -> None:
    one = await store.add_input(session.id, "clinician_summary", "Spoke of the harbour wall.", "usr_1")
    two = await store.add_input(session.id, "observation", "", "usr_1")
    assert sorted(i.input_id for i in await store.inputs(session.id)) == sorted([one.input_id, two.input_id])
    assert one in await store.inputs(session.id)
    content = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("quietnote.db*"))
    assert b"harbour wall" not in content
    with pytest.raises(NotFound):
        await store.add_input("ses_unknown", "observation", "x", "usr_1")


@pytest.mark.parametrize("how", ["discarded", "withdrawn in the call", "withdrawn after it"])
async def test_nothing_is_added_where_no_note_is_made_any_more(
    store: SessionStore, session: SessionRecord, how: str
) -> None:
    answer: dict[str, Any] = {"method": "api", "text_version": "", "text_sha256": "", "by": "cl"}
    await store.record_consent(session.id, "cl", ConsentState.GRANTED, **answer)
    begun: dict[str, Any] = {"capture": "capturing", "audio": AudioState.HELD, "transcript": TranscriptState.LIVE}
    await store.change(session.id, "capture.started", **begun, captured_from=session.created_at)
    if how == "discarded":
        await store.change(session.id, "capture.discarded", capture=CaptureState.DISCARDED)
    if how == "withdrawn after it":
        await store.change(session.id, "capture.finished", capture=CaptureState.FINISHED)
    if how != "discarded":
        await store.withdraw(session.id, "cl", ConsentState.REVOKED, method="api", by="cl", at_ms=900)
    closed = SessionLocked if how == "withdrawn after it" else InvalidTransition
    with pytest.raises(closed):
        await store.add_input(session.id, "clinician_summary", "Spoke of the harbour wall.", "usr_1")
    assert await store.inputs(session.id) == []


async def test_a_draft_is_saved_once_per_generation(store: SessionStore, drafted: SessionRecord) -> None:
    note = await store.note_of(drafted.id)
    assert (note.id, note.version, note.content, note.state) == (drafted.note_id, 1, CONTENT, NoteState.DRAFT)
    assert drafted.draft_ready_at is not None
    assert "sleep" not in repr(note)
    assert await store.save_note(drafted.id, CONTENT) == note  # the same step again
    with pytest.raises(InvalidTransition):
        await store.save_note(drafted.id, b"another")
    assert [e.kind for e in await store.events(drafted.id, 0)].count("note.draft_ready") == 1
    await store.change(drafted.id, "x", note=NoteState.QUEUED)
    await store.change(drafted.id, "x", note=NoteState.GENERATING)
    again = await store.save_note(drafted.id, b"another")
    assert (again.id, again.version) == (note.id, 2)
    assert (await store.note(note.id)).content == b"another"


async def test_another_clinics_note_is_not_there(store: SessionStore, drafted: SessionRecord) -> None:
    assert drafted.note_id is not None
    for attempt in (
        store.note(drafted.note_id, clinic_id="other"),
        store.note("note_unknown"),
        store.sign(drafted.note_id, "usr_9", clinic_id="other"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_signing_closes_the_note_and_destroys_the_transcript(
    store: SessionStore, drafted: SessionRecord, clock: ManualClock
) -> None:
    assert drafted.note_id is not None
    clock.advance(60)
    signed = await store.sign(drafted.note_id, "usr_1", clinic_id="harbour", version=1)
    assert (signed.state, signed.signed_by, signed.signed_at) == (NoteState.SIGNED, "usr_1", clock.now())
    assert signed.content_sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert signed.purge_at == clock.now()
    with pytest.raises(TranscriptPurged):
        await store.transcript(drafted.id)
    assert (await store.note(drafted.note_id)).content == CONTENT
    record = await store.get(drafted.id)
    assert (record.transcript, record.note) == (TranscriptState.PURGED, NoteState.SIGNED)
    with pytest.raises(SessionLocked):
        await store.sign(drafted.note_id, "usr_2")
    with pytest.raises(SessionLocked):
        await store.add_input(drafted.id, "observation", "late", "usr_1")
    kinds = [e.kind for e in await store.events(drafted.id, 0)]
    assert kinds.count("note.signed") == kinds.count("transcript.purged") == 1


async def test_a_note_that_changed_is_not_signed_unread(store: SessionStore, drafted: SessionRecord) -> None:
    assert drafted.note_id is not None
    with pytest.raises(PreconditionFailed):
        await store.sign(drafted.note_id, "usr_1", version=7)
    await store.change(drafted.id, "x", note=NoteState.QUEUED)
    with pytest.raises(InvalidTransition):
        await store.sign(drafted.note_id, "usr_1")
    assert (await store.note(drafted.note_id)).signed_at is None


async def test_a_signature_stands_when_the_purge_must_wait(
    store: SessionStore, drafted: SessionRecord, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drafted.note_id is not None
    store.purge_receipt = lambda _: b"receipt"

    async def locked() -> None:
        raise StorageUnavailable("database", "locked")

    with monkeypatch.context() as patch:
        patch.setattr(db, "checkpoint", locked)
        assert (await store.sign(drafted.note_id, "usr_1")).state is NoteState.SIGNED
    assert await store.due_purges() == [drafted.id]
    await store.purge_transcript(drafted.id, "retention")
    assert await store.due_purges() == []


async def test_two_who_sign_together_sign_once(store: SessionStore, drafted: SessionRecord) -> None:
    assert drafted.note_id is not None
    results = await asyncio.gather(*(store.sign(drafted.note_id, f"usr_{n}") for n in range(4)), return_exceptions=True)
    assert sum(isinstance(r, SessionLocked) for r in results) == 3


async def test_the_list_of_notes(store: SessionStore, drafted: SessionRecord, clock: ManualClock) -> None:
    clock.advance(1)
    other = await store.create(dataclasses.replace(NEW, participants=(), clinician_user_id="usr_2"))
    assert [n.session_id for n in (await store.notes("harbour"))[0]] == [drafted.id]
    await store.change(other.id, "x", capture=CaptureState.FINISHED, failure_slug="capture-no-audio")
    first, cursor = await store.notes("harbour", limit=1)
    assert [(n.session_id, n.note_id, n.failure_slug) for n in first] == [(other.id, None, "capture-no-audio")]
    second, end = await store.notes("harbour", limit=1, cursor=cursor)
    assert [(n.session_id, n.note_id, n.state) for n in second] == [(drafted.id, drafted.note_id, NoteState.DRAFT)]
    assert end is None
    assert [n.session_id for n in (await store.notes("harbour", clinician_user_id="usr_2"))[0]] == [other.id]
    assert await store.notes("other") == ([], None)


# -- the inbox --------------------------------------------------------------------------------------------------------


async def test_an_inbox_item_is_made_exactly_once(store: SessionStore, drafted: SessionRecord) -> None:
    (item,), _ = await store.inbox("harbour", clinician_user_id="usr_1")
    assert (item.kind, item.note_id, item.read_at) == ("draft_ready", drafted.note_id, None)  # it came with the draft
    made = await asyncio.gather(
        *(store.inbox_add(drafted.id, "failed", dedupe="k", reason_slug="note-generation-failed") for _ in range(5))
    )
    (failed,) = [one for one in made if one is not None]
    assert (failed.note_id, failed.clinician_user_id, failed.read_at) == (drafted.note_id, "usr_1", None)
    assert {one.id for one in (await store.inbox("harbour", clinician_user_id="usr_1"))[0]} == {item.id, failed.id}
    assert [e.kind for e in await store.events(drafted.id, 0)].count("inbox.item_created") == 2


async def test_reading_the_inbox(store: SessionStore, drafted: SessionRecord, clock: ManualClock) -> None:
    for n in range(2):
        clock.advance(1)
        await store.inbox_add(drafted.id, "failed", dedupe=f"k{n}", reason_slug="note-generation-failed")
    page, cursor = await store.inbox("harbour", clinician_user_id="usr_1", limit=2)
    rest, end = await store.inbox("harbour", clinician_user_id="usr_1", limit=2, cursor=cursor)
    assert len({i.id for i in page + rest}) == 3
    assert end is None
    assert page[0].created_at > page[1].created_at > rest[0].created_at
    assert await store.inbox_unread("harbour", clinician_user_id="usr_1") == 3
    with pytest.raises(NotFound):
        await store.inbox_read(page[0].id, clinic_id="other")
    with pytest.raises(NotFound):
        await store.inbox_read(page[0].id, clinic_id="harbour", clinician_user_id="usr_2")
    read = await store.inbox_read(page[0].id, clinic_id="harbour", clinician_user_id="usr_1")
    clock.advance(1)
    assert await store.inbox_read(page[0].id, clinic_id="harbour") == read
    assert await store.inbox_unread("harbour") == 2
    assert page[0].id not in {i.id for i in (await store.inbox("harbour", unread_only=True))[0]}
    assert await store.inbox("harbour", clinician_user_id="usr_2") == ([], None)


# -- idempotency ------------------------------------------------------------------------------------------------------


async def test_the_same_request_gets_the_same_answer(store: SessionStore, clock: ManualClock, tmp_path: Path) -> None:
    assert await store.idempotency_begin("harbour", "k1", "a" * 64) is None
    with pytest.raises(IdempotencyConflict):  # its twin, while it is being carried out
        await store.idempotency_begin("harbour", "k1", "a" * 64)
    await store.idempotency_finish("harbour", "k1", 201, b'{"token":"very-secret"}')
    answer = await store.idempotency_begin("harbour", "k1", "a" * 64)
    assert answer is not None
    assert (answer.status, answer.body) == (201, b'{"token":"very-secret"}')
    with pytest.raises(IdempotencyConflict):
        await store.idempotency_begin("harbour", "k1", "b" * 64)
    assert await store.idempotency_begin("other", "k1", "b" * 64) is None
    content = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("quietnote.db*"))
    assert b"very-secret" not in content


async def test_a_key_is_free_again_after_a_failure_a_crash_or_a_day(store: SessionStore, clock: ManualClock) -> None:
    assert await store.idempotency_begin("harbour", "k", "a" * 64) is None
    await store.idempotency_abandon("harbour", "k")
    assert await store.idempotency_begin("harbour", "k", "c" * 64) is None
    clock.advance(61)  # its process died
    assert await store.idempotency_begin("harbour", "k", "c" * 64) is None
    await store.idempotency_finish("harbour", "k", 200, b"{}")
    await store.idempotency_abandon("harbour", "k")
    assert await store.idempotency_begin("harbour", "k", "c" * 64) is not None
    clock.advance(24 * 3600)
    assert await store.idempotency_begin("harbour", "k", "d" * 64) is None
    clock.advance(24 * 3600)
    await store.idempotency_prune()
    assert await store.idempotency_begin("harbour", "k", "e" * 64) is None


async def test_twins_that_arrive_together_have_one_effect(store: SessionStore) -> None:
    results = await asyncio.gather(
        *(store.idempotency_begin("harbour", "k", "a" * 64) for _ in range(6)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert sum(isinstance(r, IdempotencyConflict) for r in results) == 5
