"""Sessions and their states: made, read, listed, and moved in one way only."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import and_, exists, func, or_, select, tuple_
from sqlalchemy.exc import IntegrityError

from bot import machines
from bot.clinics import ClinicConfig
from bot.errors import ConfigInvalid, NotFound
from bot.events import (
    AudioState,
    BotState,
    CaptureState,
    ConsentState,
    EndReason,
    NoteState,
    PauseReason,
    Role,
    SessionEvent,
    TranscriptState,
)
from bot.store.consents import keep_answer
from bot.store.ground import Change, Ground, clinic_scope, cursor_from, cursor_to, record_of, words_scope
from bot.store.models import (
    ClinicRow,
    ClinicVersionRow,
    ConsentLinkRow,
    ConsentRow,
    NoteRow,
    ParticipantRow,
    ReceiptRow,
    SessionEventRow,
    SessionRow,
)
from bot.store.records import Attestation, NewParticipant, NewSession, SessionRecord, new_id, reasons_to, session_record

Page = tuple[list[SessionRecord], str | None]
Records = list[SessionRecord]
Events = list[SessionEvent]
Ids = list[str]
Warned = list[Mapping[str, Any]]

MACHINES: Mapping[str, tuple[type[StrEnum], machines.Table[Any]]] = {
    "bot": (BotState, machines.BOT),
    "capture": (CaptureState, machines.CAPTURE),
    "audio": (AudioState, machines.AUDIO),
    "transcript": (TranscriptState, machines.TRANSCRIPT),
    "note": (NoteState, machines.NOTE),
}
"""Columns that move only as their table allows."""

TIMES = frozenset(
    {
        "call_started_at",
        "captured_from",
        "ended_at",
        "transcript_ready_at",
        "audio_erased_at",
        "draft_ready_at",
        "purge_at",
        "erase_by",
    }
)
STAMPED: Mapping[StrEnum, str] = {
    TranscriptState.READY: "transcript_ready_at",
    AudioState.ERASED: "audio_erased_at",
    NoteState.DRAFT: "draft_ready_at",
}
"""Reaching the state sets the time, unless the change gives another."""
WARNED = "session.warned"
"""The event of a warning; its data are ``slug``, ``participant_id`` or null, and ``since_ms``."""


def name_purpose(session_id: str, participant_id: str) -> str:
    """The vault purpose a participant's name is sealed for."""
    return f"name:{session_id}:{participant_id}"


def code_hash(code: str) -> str:
    """How the code of a person's link is stored."""
    return hashlib.sha256(code.encode()).hexdigest()


def participant_row(session_id: str, person: NewParticipant, sealed_name: bytes) -> ParticipantRow:
    """The row of somebody new."""
    return ParticipantRow(
        session_id=session_id,
        id=person.id,
        role=person.role.value,
        sealed_name=sealed_name,
        invite_sha256=code_hash(person.invite_code) if person.invite_code else None,
        language=person.language,
        shares_with=person.shares_with,
        client_ref=(person.client_ref or person.id) if person.role is Role.CLIENT else None,
        consent=(ConsentState.GRANTED if person.on_file else ConsentState.UNKNOWN).value,
        admitted=False,
    )


def keep_copy_code(change: Change, session_id: str, person: NewParticipant) -> None:
    """Keep the code of the link to somebody's copy of what they agree to, where one was made."""
    if person.copy_code is None:
        return
    sha256 = code_hash(person.copy_code)
    change.db.add(
        ConsentLinkRow(sha256=sha256, session_id=session_id, participant_id=person.id, created_at=change.now)
    )


class StateStore(Ground):
    """Sessions as a whole."""

    async def create(self, new: NewSession) -> SessionRecord:
        """Make a session with a snapshot of its clinic's configuration.

        Raises NotFound for an unknown clinic, ConfigInvalid for participants that clash.
        """
        ids = [p.id for p in new.participants]
        if len(set(ids)) != len(ids):
            raise ConfigInvalid("participants: two have the same id.")
        session_id = new_id("ses")

        def seal_names() -> list[bytes]:
            # the words key is made now, in this thread, so that the first caption need not wait for the disk
            self._vault.seal(words_scope(session_id), "probe", b"")
            scope = clinic_scope(new.clinic_id)
            return [
                self._vault.seal(scope, name_purpose(session_id, p.id), p.display_name.encode())
                for p in new.participants
            ]

        async with self._db.read() as db:
            if await db.get(ClinicRow, new.clinic_id) is None:
                raise NotFound("There is no such clinic.")
        names = await asyncio.to_thread(seal_names)
        try:
            async with self._change() as change:
                clinic = await change.db.get(ClinicRow, new.clinic_id)
                if clinic is None:
                    raise NotFound("There is no such clinic.")
                version = await change.db.get_one(ClinicVersionRow, (clinic.id, clinic.version))
                config = ClinicConfig.model_validate(version.config)
                row = SessionRow(
                    id=session_id,
                    clinic_id=clinic.id,
                    clinic_version=clinic.version,
                    snapshot=version.config,
                    transport=new.transport,
                    room_name=new.room_name,
                    mode=new.mode,
                    template=new.template or config.note.template,
                    language=new.language or config.asr.language,
                    clinician_user_id=new.clinician_user_id,
                    appointment_external_id=new.appointment_external_id,
                    appointment_starts_at=new.appointment_starts_at,
                    appointment_ends_at=new.appointment_ends_at,
                    bot="absent",
                    capture="off",
                    pause_reasons="",
                    audio="absent",
                    transcript="absent",
                    note="absent",
                    seq=0,
                    epoch=0,
                    created_at=change.now,
                )
                change.db.add(row)
                await change.db.flush()
                for person, name in zip(new.participants, names, strict=True):
                    change.db.add(participant_row(session_id, person, name))
                await change.db.flush()
                for person in new.participants:
                    keep_copy_code(change, session_id, person)
                change.tell(row, "session.created", {"clinic_version": clinic.version})
                for person in new.participants:
                    if person.on_file is not None:
                        keep_answer(change, row, _on_file(person.id, person.on_file, new.made_by), person.on_file)
                await change.db.flush()
                record = session_record(row, None)
        except IntegrityError:
            await asyncio.to_thread(self._vault.destroy, words_scope(session_id))
            raise ConfigInvalid("participants: an invitation code is already in use.") from None
        return record

    async def get(self, session_id: str, *, clinic_id: str | None = None) -> SessionRecord:
        """The session. Raises NotFound, also when it is another clinic's."""
        async with self._db.read() as db:
            row = await db.get(SessionRow, session_id)
            if row is None or clinic_id not in {None, row.clinic_id}:
                raise NotFound
            return await record_of(db, row)

    async def list(
        self, clinic_id: str, *, limit: int = 50, cursor: str | None = None, clinician_user_id: str | None = None
    ) -> Page:
        """A clinic's sessions, newest first, and the cursor of the next page."""
        query = (
            select(SessionRow, NoteRow.id)
            .outerjoin(NoteRow, NoteRow.session_id == SessionRow.id)
            .where(SessionRow.clinic_id == clinic_id)
            .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
            .limit(limit + 1)
        )
        if clinician_user_id is not None:
            query = query.where(SessionRow.clinician_user_id == clinician_user_id)
        if cursor is not None:
            query = query.where(tuple_(SessionRow.created_at, SessionRow.id) < cursor_from(cursor))
        async with self._db.read() as db:
            records = [session_record(row, note_id) for row, note_id in (await db.execute(query)).all()]
        more = cursor_to(records[limit - 1].created_at, records[limit - 1].id) if len(records) > limit else None
        return records[:limit], more

    async def count_sessions(self, clinic_id: str) -> int:
        """How many sessions a clinic has."""
        query = select(func.count()).select_from(SessionRow).where(SessionRow.clinic_id == clinic_id)
        async with self._db.read() as db:
            return await db.scalar(query) or 0

    async def change(
        self,
        session_id: str,
        kind: str,
        *,
        data: Mapping[str, Any] | None = None,
        only_from: Mapping[str, StrEnum] | None = None,
        **columns: Any,
    ) -> SessionRecord:
        """Move states and write the event of ``kind``, in one transaction: the one way states move.

        ``columns`` may name a machine (``bot capture audio transcript note``; the value it has already is allowed),
        ``pause_reasons``, ``bot_end_reason``, ``failure_slug``, ``clinician_user_id``, ``template`` and the times.
        ``only_from`` names states it must still be in: where somebody else moved it meanwhile, nothing is changed.
        Raises InvalidTransition when a table does not allow a move; then nothing is changed.
        """
        async with self._change() as change:
            row = await change.session(session_id)
            if any(getattr(row, name) != state.value for name, state in (only_from or {}).items()):
                return await change.record(row)
            set_columns(row, columns, now=change.now)
            change.tell(row, kind, data)
            return await change.record(row)

    async def raise_epoch(self, session_id: str) -> int:
        """Shut out every writer that began before now; the new epoch."""
        async with self._change() as change:
            row = await change.session(session_id)
            row.epoch += 1
            return row.epoch

    async def events(self, session_id: str, after_seq: int = 0, *, limit: int = 1000) -> Events:
        """The session's events after a sequence number, oldest first."""
        query = (
            select(SessionEventRow)
            .where(SessionEventRow.session_id == session_id, SessionEventRow.seq > after_seq)
            .order_by(SessionEventRow.seq)
            .limit(limit)
        )
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
        return [SessionEvent(r.session_id, r.seq, r.kind, r.at, r.data) for r in rows]

    async def warnings_of(self, session_ids: Collection[str]) -> dict[str, Warned]:
        """What the pages of several sessions were warned of, in one query, by session, oldest first."""
        e = SessionEventRow
        query = select(e.session_id, e.data).where(e.session_id.in_(session_ids), e.kind == WARNED).order_by(e.seq)
        found: dict[str, Warned] = {session_id: [] for session_id in session_ids}
        async with self._db.read() as db:
            for row in (await db.execute(query)).all():
                found[row.session_id].append(row.data)
        return found

    # -- what is due ---------------------------------------------------------------------------------------------------

    async def unfinished(self) -> Records:
        """Sessions a stopped process may have left half done, oldest first: captured, or ended but not yet settled."""
        s = SessionRow
        live = s.capture.in_(["consent_pending", "capturing", "paused"])
        ended = and_(
            s.capture == "finished",
            or_(
                s.audio == "held",
                s.transcript == "live",
                s.note.in_(["queued", "generating"]),
                and_(s.note == "absent", s.failure_slug.is_(None), s.transcript != "purged"),
                and_(s.note == "draft", NoteRow.part < s.part, NoteRow.edited_at.is_(None)),
            ),
        )
        dropped = and_(
            or_(s.capture == "discarded", s.withdrawn_by.is_not(None)),
            or_(s.audio == "held", s.transcript.in_(["live", "ready", "failed"])),
        )
        not_home = s.bot.not_in(["absent", "done", "failed"])
        query = (
            select(s, NoteRow.id)
            .outerjoin(NoteRow, NoteRow.session_id == s.id)
            .where(or_(live, ended, dropped, not_home))
            .order_by(s.created_at, s.id)
        )
        async with self._db.read() as db:
            return [session_record(row, note_id) for row, note_id in (await db.execute(query)).all()]

    async def due_purges(self, now: datetime | None = None) -> Ids:
        """Sessions whose transcript must go by now, and those whose purge was interrupted before its receipt."""
        at = now or self._clock.now()
        due = and_(SessionRow.purge_at <= at, SessionRow.transcript.in_(["live", "ready", "failed"]))
        if self.purge_receipt is not None:
            receipt = exists().where(ReceiptRow.session_id == SessionRow.id, ReceiptRow.kind == "transcript")
            due = or_(due, and_(SessionRow.transcript == "purged", ~receipt))
        query = select(SessionRow.id).where(due)
        async with self._db.read() as db:
            return list((await db.scalars(query.order_by(SessionRow.purge_at))).all())

    async def due_erasures(self, now: datetime | None = None) -> Ids:
        """Sessions whose audio must go by now, whatever happened."""
        at = now or self._clock.now()
        query = select(SessionRow.id).where(SessionRow.erase_by <= at, SessionRow.audio == "held")
        async with self._db.read() as db:
            return list((await db.scalars(query.order_by(SessionRow.erase_by))).all())


def _on_file(participant_id: str, given: Attestation, by: str) -> ConsentRow:
    """The answer of a consent on file. Nothing was shown here, so that it has no text of ours."""
    return ConsentRow(
        participant_id=participant_id,
        decision=ConsentState.GRANTED.value,
        method=given.method,
        text_version=given.text_version,
        text_sha256="",
        language="",
        by=by,
    )


def set_columns(row: SessionRow, columns: Mapping[str, Any], *, now: datetime) -> None:
    """Write ``columns`` into ``row``, each machine checked by its table before anything is set."""
    values: dict[str, Any] = {}
    for name, value in columns.items():
        if name in MACHINES:
            states, table = MACHINES[name]
            before, after = states(cast("str", getattr(row, name))), states(value)
            if after is not before:
                machines.move(table, before, after)
                if after in STAMPED:
                    values.setdefault(STAMPED[after], now)
            values[name] = after.value
        elif name == "pause_reasons":
            values[name] = reasons_to(frozenset(PauseReason(reason) for reason in value))
        elif name == "bot_end_reason":
            values[name] = EndReason(value).value if value is not None else None
        elif name in TIMES or name in {"failure_slug", "clinician_user_id", "template"}:
            values[name] = value
        else:
            raise TypeError(f"a session has no column {name!r} that may be changed")
    for name, value in values.items():
        setattr(row, name, value)
