"""Text inputs and the note. All text is sealed under the clinic's key."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import structlog
from sqlalchemy import ColumnElement, and_, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from bot import machines
from bot.errors import InvalidTransition, NotFound, PreconditionFailed, SessionLocked, StorageUnavailable
from bot.events import CaptureState, NoteState, TextInput, TranscriptState
from bot.store.ground import clinic_scope, cursor_from, cursor_to
from bot.store.inbox_store import DRAFT_READY, MADE_AGAIN, WORDS_CAME, put_inbox
from bot.store.making import check_attempt
from bot.store.models import InputRow, NoteRow, SessionRow
from bot.store.note_times import draft_until, signed_until
from bot.store.records import NoteRecord, NoteSummary, SessionRecord, new_id
from bot.store.words import WordStore

log = structlog.get_logger()

NOT_YET = "Recording goes on in this session. Finish it, and sign when its last words are written."
RUNNING = frozenset({CaptureState.CONSENT_PENDING, CaptureState.CAPTURING, CaptureState.PAUSED})
CLOSED = frozenset({NoteState.SIGNED, NoteState.AMENDED, NoteState.DISCARDED})


def _input_purpose(input_id: str) -> str:
    return f"input:{input_id}"


def _note_purpose(note_id: str, version: int) -> str:
    return f"note:{note_id}:{version}"


class NoteStore(WordStore):
    """What a session's words became."""

    # -- inputs --------------------------------------------------------------------------------------------------------

    async def add_input(self, session_id: str, kind: str, text: str, author_id: str) -> TextInput:
        """Keep text a clinician added.

        Raises SessionLocked once the note is signed or discarded; InvalidTransition where none can be made any more.
        """
        made = TextInput(new_id("inp"), kind, text, author_id)
        clinic_id = await self._clinic_of(session_id)
        sealed = await self._seal(clinic_scope(clinic_id), _input_purpose(made.input_id), text.encode())
        async with self._change() as change:
            session = await change.session(session_id)
            if NoteState(session.note) in CLOSED:
                raise SessionLocked("The note is closed; nothing can be added to it.")
            if CaptureState(session.capture) is CaptureState.DISCARDED:
                raise InvalidTransition("This session was destroyed; no note is made of it.", state=session.capture)
            change.db.add(
                InputRow(
                    id=made.input_id,
                    session_id=session_id,
                    kind=kind,
                    sealed=sealed,
                    author_id=author_id,
                    created_at=change.now,
                )
            )
            change.tell(session, "input.added", {"input_id": made.input_id, "kind": kind})
        return made

    async def inputs(self, session_id: str) -> list[TextInput]:
        """The session's inputs, oldest first."""
        clinic_id = await self._clinic_of(session_id)
        query = select(InputRow).where(InputRow.session_id == session_id).order_by(InputRow.created_at, InputRow.id)
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
        texts = await self._unseal_all(clinic_scope(clinic_id), [(_input_purpose(r.id), r.sealed) for r in rows])
        return [
            TextInput(row.id, row.kind, text.decode(), row.author_id) for row, text in zip(rows, texts, strict=True)
        ]

    # -- the note ------------------------------------------------------------------------------------------------------

    async def queue_note(self, session_id: str, *, by: str) -> SessionRecord:
        """Let a finished session's note be made, or a failed one be tried again; ``by`` asked for it.

        Raises InvalidTransition where that is not, or no more, possible.
        """
        async with self._change() as change:
            row = await change.session(session_id)
            possible = NoteState(row.note) in {NoteState.ABSENT, NoteState.FAILED}
            if not possible or CaptureState(row.capture) is not CaptureState.FINISHED:
                raise InvalidTransition("The session changed meanwhile. Look at it again.", state=row.note)
            row.note = machines.move(machines.NOTE, NoteState(row.note), NoteState.QUEUED).value
            row.failure_slug = None
            change.tell(row, "note.queued", {"by": by})
            return await change.record(row)

    async def save_note(
        self, session_id: str, content: bytes, *, part: int | None = None, attempt: int | None = None
    ) -> NoteRecord:
        """Keep a generated draft (``generating`` becomes ``draft``); the note keeps its id, its version counts up.

        The inbox item comes with it, at once: who sees the one finds the other. Where recording went on after the last
        draft and nobody has read that one's item, the item tells of this one. ``part`` is the part of the session with
        whose words it was made; without one, the newest. ``attempt`` is the one that wrote it: where a later one
        began since, or it was given up, :class:`bot.store.making.Superseded` is raised and nothing is kept.

        The very same content again, as a repeated workflow step brings it, is no change. Raises InvalidTransition
        when no note is being generated.
        """
        async with self._db.read() as db:
            session = await db.get(SessionRow, session_id)
            if session is None:
                raise NotFound
            old = (await db.scalars(select(NoteRow).where(NoteRow.session_id == session_id))).one_or_none()
        scope = clinic_scope(session.clinic_id)
        if session.note == NoteState.DRAFT and old is not None:
            known = await self._unseal(scope, _note_purpose(old.id, old.version), old.sealed)
            if known == content:
                return _note(old, session, known)
        note_id, version = (old.id, old.version + 1) if old is not None else (new_id("note"), 1)
        sealed = await self._seal(scope, _note_purpose(note_id, version), content)
        async with self._change() as change:
            row = await change.session(session_id)
            if attempt is not None:
                await check_attempt(change.db, session_id, attempt)
            row.note = machines.move(machines.NOTE, NoteState(row.note), NoteState.DRAFT).value
            row.draft_ready_at = change.now
            row.note_until = draft_until(row, change.now)
            row.failure_slug = None
            note = (await change.db.scalars(select(NoteRow).where(NoteRow.session_id == session_id))).one_or_none()
            if (note.version + 1 if note is not None else 1) != version:
                raise PreconditionFailed("The note changed while it was being written.")
            if note is None:
                note = NoteRow(
                    id=note_id,
                    session_id=session_id,
                    clinic_id=row.clinic_id,
                    version=version,
                    part=row.part if part is None else part,
                    sealed=sealed,
                    created_at=change.now,
                )
                change.db.add(note)
                why = None
            else:
                why = _why_again(note.part, row.part if part is None else part)
                note.version, note.sealed, note.edited_at = version, sealed, None
                note.part = row.part if part is None else part
            change.tell(row, "note.draft_ready", {"note_id": note_id, "version": version})
            await change.db.flush()
            dedupe = f"{DRAFT_READY}:{note_id}:{version}"
            await put_inbox(change, row, DRAFT_READY, dedupe, why)
            return _note(note, row, content)

    async def edit_note(self, note_id: str, content: bytes, *, by: str, version: int) -> NoteRecord:
        """Keep a draft as somebody changed it: from here on nothing makes it again by itself.

        ``version`` is the one that was changed. Raises NotFound, InvalidTransition when it is no draft,
        PreconditionFailed when it changed meanwhile.
        """
        read = await self.note(note_id)
        sealed = await self._seal(clinic_scope(read.clinic_id), _note_purpose(note_id, version + 1), content)
        async with self._change() as change:
            session = await change.session(read.session_id)
            note = await change.db.get(NoteRow, note_id)
            if note is None:
                raise NotFound
            if NoteState(session.note) is not NoteState.DRAFT:
                raise InvalidTransition("Only a draft can be edited.", state=session.note)
            if note.version != version:
                raise PreconditionFailed("The note changed since you read it.", version=note.version)
            note.version, note.sealed, note.edited_at = version + 1, sealed, change.now
            change.tell(session, "note.edited", {"note_id": note_id, "version": note.version, "by": by})
            return _note(note, session, content)

    async def note(self, note_id: str, *, clinic_id: str | None = None) -> NoteRecord:
        """A note with its content. Raises NotFound, also when it is another clinic's."""
        return await self._note_where(NoteRow.id == note_id, clinic_id)

    async def note_of(self, session_id: str, *, clinic_id: str | None = None) -> NoteRecord:
        """The session's note with its content. Raises NotFound while there is none."""
        return await self._note_where(NoteRow.session_id == session_id, clinic_id)

    async def _note_where(self, condition: ColumnElement[bool], clinic_id: str | None) -> NoteRecord:
        query = select(NoteRow, SessionRow).join(SessionRow, SessionRow.id == NoteRow.session_id).where(condition)
        async with self._db.read() as db:
            found = (await db.execute(query)).one_or_none()
        if found is None or clinic_id not in {None, found[0].clinic_id}:
            raise NotFound
        note, session = found
        purpose = _note_purpose(note.id, note.version)
        return _note(note, session, await self._unseal(clinic_scope(note.clinic_id), purpose, note.sealed))

    async def sign(
        self, note_id: str, by: str, *, clinic_id: str | None = None, version: int | None = None
    ) -> NoteRecord:
        """Sign a draft: it is closed, its content's hash is kept, and the transcript is destroyed.

        ``version`` is the one the signer read. Raises NotFound, SessionLocked when it is signed already,
        InvalidTransition when it is no draft, PreconditionFailed when it changed. Should the database refuse the
        purge, the signature stands and the sweep purges.
        """
        read = await self.note(note_id, clinic_id=clinic_id)
        async with self._change() as change:
            session = await change.session(read.session_id)
            note = await change.db.get(NoteRow, note_id)
            if note is None:  # consent was taken back since it was read, and it was destroyed
                raise NotFound
            if NoteState(session.note) in {NoteState.SIGNED, NoteState.AMENDED}:
                raise SessionLocked("This note is signed already.")
            if note.version != (read.version if version is None else version):
                raise PreconditionFailed("The note changed since you read it.", version=note.version)
            if _goes_on(session):
                raise InvalidTransition(NOT_YET, state=session.note)
            session.note = machines.move(machines.NOTE, NoteState(session.note), NoteState.SIGNED).value
            note.signed_at, note.signed_by = change.now, by
            note.content_sha256 = hashlib.sha256(read.content).hexdigest()
            session.note_until = signed_until(session, change.now)
            if session.purge_at is None or session.purge_at > change.now:
                session.purge_at = change.now
            change.tell(session, "note.signed", {"note_id": note_id, "version": note.version, "by": by})
            signed = _note(note, session, read.content)
        try:
            await self.purge_transcript(read.session_id, "signed")
        except StorageUnavailable as error:
            log.warning("purge_deferred", session_id=read.session_id, cause=error.cause)
        return signed

    async def notes(
        self, clinic_id: str, *, clinician_user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[NoteSummary], str | None]:
        """Sessions that have, or may yet get, a note: newest first, and the cursor of the next page."""
        s = SessionRow
        typed = exists().where(InputRow.session_id == s.id)
        possible = or_(
            s.note != "absent", s.capture == "finished", and_(s.capture == "off", typed), s.withdrawn_by.is_not(None)
        )
        query = (
            select(s, NoteRow.id, NoteRow.signed_at)
            .outerjoin(NoteRow, NoteRow.session_id == s.id)
            .where(s.clinic_id == clinic_id, possible)
            .order_by(s.created_at.desc(), s.id.desc())
            .limit(limit + 1)
        )
        if clinician_user_id is not None:
            query = query.where(s.clinician_user_id == clinician_user_id)
        if cursor is not None:
            query = query.where(tuple_(s.created_at, s.id) < cursor_from(cursor))
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
            inputs = await _inputs_of(db, [row.id for row, _, _ in rows])
        summaries = [
            NoteSummary(
                session_id=row.id,
                note_id=note_id,
                clinician_user_id=row.clinician_user_id,
                state=NoteState(row.note),
                transcript=TranscriptState(row.transcript),
                failure_slug=row.failure_slug,
                session_created_at=row.created_at,
                ended_at=row.ended_at,
                signed_at=signed_at,
                inputs=inputs.get(row.id, 0),
                withdrawn=row.withdrawn_by is not None,
            )
            for row, note_id, signed_at in rows
        ]
        if len(summaries) <= limit:
            return summaries, None
        last = summaries[limit - 1]
        return summaries[:limit], cursor_to(last.session_created_at, last.session_id)

    async def _clinic_of(self, session_id: str) -> str:
        async with self._db.read() as db:
            clinic_id = await db.scalar(select(SessionRow.clinic_id).where(SessionRow.id == session_id))
        if clinic_id is None:
            raise NotFound
        return clinic_id


async def _inputs_of(db: AsyncSession, session_ids: Collection[str]) -> dict[str, int]:
    """How many texts were typed for each session that has any."""
    i = InputRow
    counted = select(i.session_id, func.count().label("inputs"))
    query = counted.where(i.session_id.in_(session_ids)).group_by(i.session_id)
    return {row.session_id: row.inputs for row in (await db.execute(query)).all()}


def _why_again(had_part: int, part: int) -> str | None:
    """Why a draft is made again: of the session's words it had those up to ``had_part``'s end; 0: none at all."""
    if had_part >= part:
        return None
    return MADE_AGAIN if had_part else WORDS_CAME


def _note(row: NoteRow, session: SessionRow, content: bytes) -> NoteRecord:
    return NoteRecord(
        id=row.id,
        session_id=row.session_id,
        clinic_id=row.clinic_id,
        clinician_user_id=session.clinician_user_id,
        state=NoteState(session.note),
        version=row.version,
        content=content,
        created_at=row.created_at,
        signed_at=row.signed_at,
        signed_by=row.signed_by,
        content_sha256=row.content_sha256,
        purge_at=session.purge_at,
        edited=row.edited_at is not None,
        words_added=row.edited_at is not None and row.part < session.part and not _goes_on(session)
        and session.transcript != TranscriptState.LIVE,
    )


def _goes_on(session: SessionRow) -> bool:
    """A later part of the session is recorded, or its words are not all there: signing would destroy them."""
    return session.part > 1 and (
        CaptureState(session.capture) in RUNNING or TranscriptState(session.transcript) is TranscriptState.LIVE
    )
