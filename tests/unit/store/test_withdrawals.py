from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.bench.forensics import bytes_in, said_in
from bot.clock import ManualClock
from bot.control import mycopy
from bot.control.wording import ConsentText
from bot.errors import InvalidTransition, NotFound, SessionLocked, TranscriptPurged
from bot.events import AudioState, CaptureState, ConsentState, NoteState, Role, TranscriptState
from bot.store.db import Database
from bot.store.models import ConsentLinkRow, NoteRow
from bot.store.sessions import SessionRecord, SessionStore
from bot.store.states import code_hash
from bot.store.vault import FileVault
from bot.store.withdrawals import DESTROYED, ITEM, SIGNED

from .conftest import final

SAID, DRAFTED = "The lighthouse keeper frightens me", "Client fears the lighthouse keeper"
TEXT = "A program would write this down."
BACK: dict[str, Any] = {"method": "link", "by": "cl", "at_ms": 4000}


async def captured(store: SessionStore, session: SessionRecord, clock: ManualClock) -> None:
    """The client agreed, and something is said."""
    read: dict[str, Any] = {"method": "in_call", "text_version": "1", "text_sha256": "0" * 64, "by": "cl", "text": TEXT}
    await store.record_consent(session.id, "cl", ConsentState.GRANTED, **read)
    await store.change(session.id, "x", capture=CaptureState.CAPTURING)
    held: dict[str, Any] = {"audio": AudioState.HELD, "transcript": TranscriptState.LIVE}
    await store.change(session.id, "x", captured_from=clock.now(), **held)
    lane = await store.ensure_lane(session.id, "cl", Role.CLIENT)
    for n in range(3):
        await store.commit_final(session.id, final(lane.id, f"{SAID} {n}", n=n))


async def drafted(store: SessionStore, session: SessionRecord, clock: ManualClock) -> str:
    await captured(store, session, clock)
    await store.change(session.id, "x", capture=CaptureState.FINISHED, ended_at=clock.now())
    await store.change(session.id, "x", transcript=TranscriptState.READY, note=NoteState.QUEUED)
    await store.change(session.id, "x", note=NoteState.GENERATING)
    return (await store.save_note(session.id, DRAFTED.encode())).id


async def test_after_the_call_draft_and_words_are_nowhere_and_the_clinician_is_told_once(
    store: SessionStore, session: SessionRecord, clock: ManualClock, db: Database, vault: FileVault, tmp_path: Path
) -> None:
    store.purge_receipt = lambda purge: f"{purge.reason} {purge.segments} {purge.drafts}".encode()
    note_id = await drafted(store, session, clock)
    async with db.read() as reading:
        draft = (await reading.get_one(NoteRow, note_id)).sealed
    assert bytes_in(tmp_path / "data", draft[:40])
    clock.advance(1)
    record = await store.withdraw(session.id, "cl", ConsentState.REVOKED, **BACK)
    assert (record.note, record.note_id, record.withdrawn_by) == ("discarded", None, "cl")
    with pytest.raises(TranscriptPurged):  # at once, though nobody has destroyed it yet
        await store.transcript(session.id)
    assert [one.id for one in await store.unfinished()] == [session.id]
    for _ in range(2):
        await store.purge_transcript(session.id, "retention")
        await store.withdraw(session.id, "cl", ConsentState.REVOKED, **BACK)

    assert said_in(tmp_path / "data", SAID, "lighthouse", DRAFTED) == []
    assert bytes_in(tmp_path / "data", draft[:40], draft[-40:]) == []
    with pytest.raises(NotFound):
        await store.note(note_id)
    with pytest.raises(NotFound):
        await store.sign(note_id, "dr")
    with pytest.raises(InvalidTransition):
        await store.save_note(session.id, b"late")
    with pytest.raises(SessionLocked):
        await store.add_input(session.id, "observation", "late", "dr")
    items, _ = await store.inbox("harbour")
    assert [(item.kind, item.reason_slug, item.read_at is None) for item in items] == [
        (ITEM, DESTROYED, True),
        ("draft_ready", None, False),  # it tells of nothing any more
    ]
    kinds = [event.kind for event in await store.events(session.id)]
    assert all(kinds.count(kind) == 1 for kind in ("consent.revoked", "note.discarded", "transcript.purged"))
    [receipt] = await store.receipts(session.id)
    assert receipt.body == b"withdrawn 3 1"
    assert (await store.consents(session.id))[-1].method == "link"
    assert (await store.notes("harbour"))[0][0].withdrawn


async def test_in_the_call_it_ends_the_recording_in_the_same_change(
    store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    await captured(store, session, clock)
    record = await store.withdraw(session.id, "cl", ConsentState.REVOKED, **BACK)
    assert (record.capture, record.note, record.ended_at) == ("discarded", "absent", clock.now())
    assert [e.kind for e in await store.events(session.id)][-3:] == [
        "consent.revoked", "capture.discarded", "inbox.item_created",
    ]  # fmt: skip
    told = (await store.events(session.id))[-2].data
    assert told == {"state": "discarded", "effective_at_ms": 4000, "by": "cl", "reason": "withdrawn"}


async def test_a_signed_note_stays_and_the_clinician_is_told(
    store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    note_id = await drafted(store, session, clock)
    await store.sign(note_id, "dr")
    record = await store.withdraw(session.id, "cl", ConsentState.REVOKED, **BACK)
    assert (record.note, record.withdrawn_by) == ("signed", None)
    assert (await store.note(note_id)).content == DRAFTED.encode()
    await store.withdraw(session.id, "cl", ConsentState.REVOKED, **BACK)
    items, _ = await store.inbox("harbour")
    [item] = [item for item in items if item.kind == ITEM]
    assert (item.reason_slug, item.note_id) == (SIGNED, note_id)


async def test_who_never_agreed_has_nothing_to_destroy(
    store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    await captured(store, session, clock)
    seq = (await store.get(session.id)).seq
    with pytest.raises(InvalidTransition):
        await store.withdraw(session.id, "dr", ConsentState.DECLINED, **BACK)
    with pytest.raises(NotFound):
        await store.withdraw(session.id, "nobody", ConsentState.REVOKED, **BACK)
    assert (await store.get(session.id)).seq == seq


async def test_a_withdrawal_from_which_nothing_was_captured_destroys_nothing(
    store: SessionStore, session: SessionRecord
) -> None:
    await store.record_consent(
        session.id, "cl", ConsentState.GRANTED, method="api", text_version="", text_sha256="", by="cl"
    )
    record = await store.withdraw(session.id, "cl", ConsentState.REVOKED, **BACK)
    assert (record.capture, record.withdrawn_by) == ("off", None)
    assert (await store.inbox("harbour"))[0] == []


# -- one's own copy ----------------------------------------------------------------------------------------------------


async def test_a_link_is_stored_as_a_hash_and_good_for_one_person_of_one_session(
    store: SessionStore, session: SessionRecord, db: Database, tmp_path: Path
) -> None:
    code = mycopy.new_code()
    await store.add_copy_link(session.id, "cl", code)
    assert await store.copy_link(session.id, code) == "cl"
    for wrong in ((session.id, code[:-1] + "x"), ("ses_other", code), (session.id, code_hash(code))):
        with pytest.raises(NotFound):
            await store.copy_link(*wrong)
    with pytest.raises(NotFound):
        await store.add_copy_link(session.id, "nobody", mycopy.new_code())
    assert said_in(tmp_path / "data", code) == []
    async with db.read() as reading:
        assert (await reading.scalars(select(ConsentLinkRow.sha256))).all() == [code_hash(code)]


async def test_the_copy_holds_the_text_and_the_link_ends_a_month_after_the_signature(
    store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    await store.add_copy_link(session.id, "cl", code := mycopy.new_code())
    note_id = await drafted(store, session, clock)
    copy = await mycopy.read(store, session.id, code, clock.now())
    assert (copy.withdrawal, copy.until) == ("possible", None)
    clock.advance(400 * 24 * 3600.0)
    assert (await mycopy.read(store, session.id, code, clock.now())).withdrawal == "possible", "until signing"
    await store.sign(note_id, "dr")
    copy = await mycopy.read(store, session.id, code, clock.now())
    assert (copy.withdrawal, copy.until) == ("after_signing", clock.now() + timedelta(days=30))
    clock.advance(30 * 24 * 3600.0)
    with pytest.raises(NotFound):
        await mycopy.read(store, session.id, code, clock.now())


async def test_a_text_is_kept_once_word_for_word(
    store: SessionStore, session: SessionRecord, clock: ManualClock
) -> None:
    await captured(store, session, clock)
    sha256 = ConsentText("1", TEXT).sha256
    assert await store.consent_texts({sha256, "f" * 64}) == {sha256: TEXT}
