"""Whole records: whose a session is, legal holds, deletion, and what is left of it in the files."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from bot.bench.forensics import bytes_in, said_in
from bot.clinics import ClinicConfig, Retention
from bot.clock import ManualClock
from bot.errors import ConfigInvalid, NotFound, PreconditionFailed, SessionLocked
from bot.events import AudioState, CaptureState, NoteState, Role, TranscriptState
from bot.store.audit import AuditFilter, AuditStore
from bot.store.clinic_receipts import MIXED
from bot.store.clinic_store import ClinicStore
from bot.store.db import Database
from bot.store.deletions import HELD, SHARED, UNDER_WAY, Deleter
from bot.store.erase import Eraser
from bot.store.ground import clinic_scope, words_scope
from bot.store.holds import HoldStore
from bot.store.models import Base, InputRow, NoteRow, ParticipantRow
from bot.store.receipts import METHOD, ReceiptSigner, verify_receipt
from bot.store.record_due import RecordsDue
from bot.store.records import NewParticipant, NewSession
from bot.store.sessions import SessionStore
from bot.store.vault import FileVault, KeyDestroyed

from .conftest import CLINIC, ON_BOTH, final

DAY_S = 86_400
NAME, SAID, TYPED, NOTE = "Peter Winterbottom", "lighthouse keeper", "typed observation", "woke at four"


class House:
    """The store with everything that deletes."""

    def __init__(self, store: SessionStore, db: Database, vault: FileVault, clock: ManualClock, folder: Path) -> None:
        self.store, self.db, self.vault, self.clock = store, db, vault, clock
        self.signer = ReceiptSigner.load(folder)
        self.eraser = Eraser(store, db, vault, self.signer, clock)
        store.purge_receipt = self.eraser.purge_receipt
        self.deleter = Deleter(db, vault, self.signer, clock, self.eraser)
        self.holds = HoldStore(db, clock, self.signer)
        self.due = RecordsDue(store, self.deleter, self.signer)
        self.audit = AuditStore(db, clock)

    async def session(self, *refs: str, clinic_id: str = "harbour", signed: bool = True) -> str:
        """A session that is over, with words that were said, typed text and a note."""
        clients = [NewParticipant(f"p{n}", Role.CLIENT, NAME, client_ref=ref) for n, ref in enumerate(refs)]
        people = (NewParticipant("dr", Role.CLINICIAN, "Dr. Mina Hale"), *clients)
        session_id = (await self.store.create(NewSession(clinic_id, clinician_user_id="u1", participants=people))).id
        for state in ("consent_pending", "capturing"):
            await self.store.change(session_id, f"capture.{state}", capture=CaptureState(state))
        lane = await self.store.ensure_lane(session_id, "p0", Role.CLIENT)
        await self.store.commit_final(session_id, final(lane.id, SAID, participant_id="p0"))
        await self.store.add_input(session_id, "observation", TYPED, "u1")
        ended: dict[str, Any] = {"capture": CaptureState.FINISHED, "ended_at": self.clock.now()}
        await self.store.change(session_id, "capture.finished", transcript=TranscriptState.READY, **ended)
        for note in (NoteState.QUEUED, NoteState.GENERATING):
            await self.store.change(session_id, f"note.{note.value}", note=note)
        made = await self.store.save_note(session_id, json.dumps(NOTE).encode())
        if signed:
            await self.store.sign(made.id, "u1")
        return session_id

    async def rows(self, session_id: str) -> dict[str, int]:
        """In which tables a session still is."""
        found = {}
        async with self.db.read() as db:
            for table in Base.metadata.sorted_tables:
                rows = (await db.execute(text(f'SELECT * FROM "{table.name}"'))).mappings().all()
                mine = [row for row in rows if session_id in {row.get("session_id"), row.get("id")}]
                if mine:
                    found[table.name] = len(mine)
        return found

    async def sealed(self, session_id: str) -> list[bytes]:
        """What lies of it in the database, as it lies there."""
        async with self.db.read() as db:
            return [
                *(await db.scalars(select(NoteRow.sealed).where(NoteRow.session_id == session_id))).all(),
                *(await db.scalars(select(InputRow.sealed).where(InputRow.session_id == session_id))).all(),
                *(
                    await db.scalars(select(ParticipantRow.sealed_name).where(ParticipantRow.session_id == session_id))
                ).all(),
            ]

    async def actions(self, target: str) -> list[str]:
        return [one.action async for one in self.audit.every(AuditFilter("harbour", object=target))]


@pytest.fixture
def house(store: SessionStore, db: Database, vault: FileVault, clock: ManualClock, tmp_path: Path) -> House:
    return House(store, db, vault, clock, tmp_path / "signer")


# -- whose record it is ------------------------------------------------------------------------------------------------


async def test_a_client_is_known_by_a_reference_over_all_their_sessions(house: House) -> None:
    first, second = await house.session("c-1"), await house.session("c-1", "c-2")
    await house.session("c-1", clinic_id="other")
    found = await house.holds.client("harbour", "c-1")
    assert (found.sessions, found.shared, found.notes, found.held, found.under_way) == (2, 1, 2, 0, 0)
    assert await house.holds.sessions("harbour", "c-1") == [first]
    assert set(await house.holds.sessions("harbour", "c-1", with_shared=True)) == {first, second}
    people = {one.id: one.client_ref for one in await house.store.participants(second)}
    assert people == {"dr": None, "p0": "c-1", "p1": "c-2"}
    with pytest.raises(NotFound):
        await house.holds.client("harbour", "nobody")


async def test_without_a_reference_it_is_the_clients_id(house: House) -> None:
    people = (NewParticipant("dr", Role.CLINICIAN, "D"), NewParticipant("x", Role.CLIENT, "X"))
    new = NewSession("harbour", participants=people)
    made = await house.store.create(new)
    assert await house.holds.sessions("harbour", "x") == [made.id]
    with pytest.raises(NotFound):
        await house.holds.sessions("harbour", "dr")


# -- deletion ----------------------------------------------------------------------------------------------------------


async def test_nothing_of_a_deleted_client_is_in_any_file(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    gone, kept = [await house.session("c-1"), await house.session("c-1", signed=False)], await house.session("c-2")
    sealed = [one for session_id in gone for one in await house.sealed(session_id)]
    others = await house.sealed(kept)
    assert all(bytes_in(folder, one[:40]) for one in sealed)
    receipt = await house.deleter.client("harbour", "c-1", expect=2)

    assert said_in(folder, NAME, SAID, TYPED, NOTE) == []
    assert [one for one in sealed if bytes_in(folder, one[:40]) or bytes_in(folder, one[-40:])] == []
    assert all(bytes_in(folder, one[:40]) for one in others)
    for session_id in gone:
        assert set(await house.rows(session_id)) <= {"audit", "clinic_receipts"}
        with pytest.raises(NotFound):
            await house.store.get(session_id)
        with pytest.raises(KeyDestroyed):
            house.vault.seal(words_scope(session_id), "x", b"x")
    assert (await house.store.note_of(kept)).content == json.dumps(NOTE).encode()
    verdict = verify_receipt(receipt.body, house.signer.public_key)
    said = verdict.statement
    assert verdict.valid
    assert (said["kind"], said["client_ref"], said["sessions"]["count"], said["method"]) == ("client", "c-1", 2, MIXED)
    assert (said["held"]["notes"], said["held"]["inputs"], said["held"]["participants"]) == (2, 2, 4)
    assert NAME.encode() not in receipt.body
    assert await house.actions("c-1") == ["client.deletion_begun", "client.deleted"]
    assert "session.deleted" in await house.actions(gone[0])
    assert (await house.audit.verify()).ok


async def test_again_it_is_the_same_receipt(house: House) -> None:
    await house.session("c-1")
    first = await house.deleter.client("harbour", "c-1", expect=1)
    assert await house.deleter.client("harbour", "c-1", expect=0) == first
    again = await house.session("c-1")  # they came back
    second = await house.deleter.client("harbour", "c-1", expect=1)
    assert second.id != first.id
    assert set(await house.rows(again)) <= {"audit", "clinic_receipts"}
    kinds = [one.kind async for one in house.deleter.receipts.every("harbour")]
    assert sorted(kinds) == ["client", "client", "transcript", "transcript"]
    with pytest.raises(NotFound):
        await house.deleter.client("harbour", "nobody", expect=0)


async def test_what_may_not_be_deleted_is_left_whole(house: House) -> None:
    alone, shared = await house.session("c-1"), await house.session("c-1", "c-2")
    before = [await house.rows(alone), await house.rows(shared)]
    with pytest.raises(PreconditionFailed):
        await house.deleter.client("harbour", "c-1", expect=1)
    with pytest.raises(SessionLocked, match=SHARED) as refused:
        await house.deleter.client("harbour", "c-1", expect=2)
    assert refused.value.extra["sessions"] == [shared]
    other = await house.session("c-3")
    await house.store.change(other, "audio.held", audio=AudioState.HELD)
    with pytest.raises(SessionLocked, match=UNDER_WAY.split(",")[0]):
        await house.deleter.client("harbour", "c-3", expect=1)
    assert [await house.rows(alone), await house.rows(shared)] == before
    await house.deleter.client("harbour", "c-1", expect=2, with_shared=True)
    with pytest.raises(NotFound):
        await house.holds.client("harbour", "c-2")


async def test_a_session_that_is_being_deleted_takes_no_change(house: House) -> None:
    session_id = await house.session("c-1")
    async with house.db.write() as db:
        await db.execute(text("UPDATE sessions SET deletion_id = 'del_1' WHERE id = :id"), {"id": session_id})
    with pytest.raises(SessionLocked):
        await house.store.add_input(session_id, "observation", "late", "u1")
    with pytest.raises(SessionLocked):
        await house.holds.place("harbour", client_ref="c-1", matter="m-1")


async def test_answers_that_speak_of_a_deleted_session_go_with_it(house: House) -> None:
    gone, kept = await house.session("c-1"), await house.session("c-2")
    for session_id in (gone, kept):
        assert await house.store.idempotency_begin("harbour", f"k{session_id}", "0" * 64) is None
        told = json.dumps({"id": session_id, "display_name": NAME}).encode()
        await house.store.idempotency_finish("harbour", f"k{session_id}", 201, told)
    await house.deleter.client("harbour", "c-1", expect=1)
    assert await house.store.idempotency_begin("harbour", f"k{kept}", "0" * 64) is not None
    assert await house.store.idempotency_begin("harbour", f"k{gone}", "0" * 64) is None


@ON_BOTH
async def test_a_clinic_goes_whole_with_its_key_and_its_id(house: House, clinics: ClinicStore) -> None:
    gone, kept = await house.session("c-1", signed=False), await house.session("c-1", clinic_id="other")
    await house.store.idempotency_begin("harbour", "k", "0" * 64)
    with pytest.raises(PreconditionFailed):
        await house.deleter.clinic("harbour", expect=0, by="operator")
    receipt = await house.deleter.clinic("harbour", expect=1, by="operator")
    said = json.loads(receipt.body)
    assert (said["kind"], said["clinic_key_destroyed"], said["method"]) == ("clinic", True, METHOD)
    assert set(await house.rows(gone)) <= {"audit", "clinic_receipts"}
    with pytest.raises(KeyDestroyed):
        house.vault.seal(clinic_scope("harbour"), "x", b"x")
    async with house.db.read() as db:
        for table in Base.metadata.sorted_tables:
            if "clinic_id" in table.columns and table.name not in {"audit", "clinic_receipts", "deletions"}:
                query = select(table).where(table.c.clinic_id == "harbour")
                assert (await db.execute(query)).all() == [], table.name
    assert await clinics.seed({CLINIC.id: CLINIC}) == []  # its file was left: it does not come back
    assert await clinics.ids() == ["other"]
    assert (await house.store.note_of(kept)).state is NoteState.SIGNED
    assert await house.deleter.clinic("harbour", expect=0, by="operator") == receipt


# -- holds -------------------------------------------------------------------------------------------------------------


async def test_a_hold_keeps_deletion_and_retention_away_until_it_is_lifted(house: House) -> None:
    shared, single = await house.session("c-1", "c-2"), await house.session("c-3")
    held, receipt = await house.holds.place("harbour", client_ref="c-2", matter="2026/17", by="usr_1")
    assert verify_receipt(receipt.body, house.signer.public_key, kind="quietnote.record-receipt").valid
    for delete in (
        house.deleter.client("harbour", "c-1", expect=1, with_shared=True),
        house.deleter.client("harbour", "c-2", expect=1, with_shared=True),
        house.deleter.session("harbour", shared),
        house.deleter.clinic("harbour", expect=2, by="operator"),
    ):
        with pytest.raises(SessionLocked, match=HELD):
            await delete
    await house.deleter.session("harbour", single)
    lifted, second = await house.holds.lift(held.id, by="usr_1")
    assert lifted.lifted_by == "usr_1"
    assert second is not None
    assert (await house.holds.lift(held.id, by="usr_2")) == (lifted, None)
    assert await house.holds.list("harbour", standing=True) == []
    await house.deleter.client("harbour", "c-1", expect=1, with_shared=True)
    assert await house.actions("c-2") == ["hold.placed", "hold.lifted"]


async def test_a_hold_that_cannot_be(house: House) -> None:
    session_id = await house.session("c-1")
    for wrong in ({}, {"client_ref": "c-1", "session_id": session_id}):
        with pytest.raises(ConfigInvalid):
            await house.holds.place("harbour", matter="m", **wrong)
    with pytest.raises(ConfigInvalid):
        await house.holds.place("harbour", client_ref="c-1", matter="they said so")
    for nobody in ({"client_ref": "x"}, {"session_id": "ses_x"}):
        with pytest.raises(NotFound):
            await house.holds.place("harbour", matter="m", **nobody)
    with pytest.raises(NotFound):
        await house.holds.place("other", session_id=session_id, matter="m")
    with pytest.raises(NotFound):
        await house.holds.lift("hld_x")


async def test_a_hold_prolongs_neither_sound_nor_words(house: House) -> None:
    session_id = await house.session("c-1", signed=False)
    await house.store.change(session_id, "times", purge_at=house.clock.now() + timedelta(days=7))
    await house.holds.place("harbour", client_ref="c-1", matter="m-1")
    house.clock.advance(7 * DAY_S)
    assert await house.store.due_purges(house.clock.now()) == [session_id]
    await house.store.purge_transcript(session_id, "retention")
    assert (await house.store.note_of(session_id)).state is NoteState.DRAFT


# -- retention ---------------------------------------------------------------------------------------------------------


async def choose(clinics: ClinicStore, **retention: Any) -> None:
    await clinics.save(CLINIC.model_copy(update={"retention": Retention(**retention)}), author="adm")


async def test_a_signed_note_goes_on_its_day_with_the_sessions_whole_record(house: House, clinics: ClinicStore) -> None:
    for_good = await house.session("c-1")  # by the configuration of then
    await choose(clinics, notes_days=365)
    session_id, held = await house.session("c-1"), await house.session("c-2")
    await choose(clinics)  # a later change changes nothing
    hold, _ = await house.holds.place("harbour", session_id=held, matter="m-1")
    house.clock.advance(365 * DAY_S - 1)
    await house.due.destroy()
    assert (await house.store.get(session_id)).note is NoteState.SIGNED
    await on_the_day(house)
    assert set(await house.rows(session_id)) == {"audit", "clinic_receipts"}
    for kept in (for_good, held):
        assert (await house.store.note_of(kept)).state is NoteState.SIGNED
    assert await house.due.check() is None
    assert "session.deletion_begun" in await house.actions(session_id)
    await house.holds.lift(hold.id)
    await house.due.destroy()
    assert set(await house.rows(held)) == {"audit", "clinic_receipts"}


async def test_a_draft_that_nobody_signed_goes_with_what_was_typed(house: House, clinics: ClinicStore) -> None:
    await choose(clinics, drafts_days=30)
    session_id, signed = await house.session("c-1", signed=False), await house.session("c-1")
    house.clock.advance(30 * DAY_S - 1)
    await house.due.destroy()
    assert (await house.store.get(session_id)).note is NoteState.DRAFT
    await on_the_day(house)
    await house.due.destroy()
    assert (await house.store.get(session_id)).note is NoteState.DISCARDED
    assert await house.store.inputs(session_id) == []
    [receipt] = await house.store.receipts(session_id, kind="note")
    said = json.loads(receipt.body)
    assert (said["held"], said["reason"]) == ({"drafts": 1, "inputs": 1}, "retention")
    assert (await house.store.note_of(signed)).state is NoteState.SIGNED
    assert (await house.store.participants(session_id))[0].display_name


async def on_the_day(house: House) -> None:
    """The last second passes, and what is destroyed for good waits until the clock has stood."""
    house.clock.advance(1)
    for _ in range(15):
        house.clock.advance(60)
        await house.due.destroy()


def test_bounds_of_the_clinics_choice() -> None:
    for wrong in ({"notes_days": 364}, {"notes_days": 40_000}, {"drafts_days": 29}, {"notes_days": "never"}):
        with pytest.raises(ValueError, match=r"notes_days|drafts_days"):
            ClinicConfig.model_validate({"id": "harbour", "name": "H", "retention": wrong})
