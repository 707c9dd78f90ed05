"""Text inputs, the note, and the inbox that tells of it. All text is sealed under the clinic's key."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import structlog
from sqlalchemy import ColumnElement, and_, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from bot import machines
from bot.errors import InvalidTransition, NotFound, PreconditionFailed, SessionLocked, StorageUnavailable
from bot.events import CaptureState, NoteState, TextInput, TranscriptState
from bot.store.ground import Change, clinic_scope, cursor_from, cursor_to
from bot.store.models import InboxRow, InputRow, NoteRow, SessionRow
from bot.store.records import InboxRecord, NoteRecord, NoteSummary, SessionRecord, inbox_record, new_id
from bot.store.words import WordStore

log = structlog.get_logger()

CLOSED = frozenset({NoteState.SIGNED, NoteState.AMENDED, NoteState.DISCARDED})


def _input_purpose(input_id: str) -> str:
    return f"input:{input_id}"


def _note_purpose(note_id: str, version: int) -> str:
    return f"note:{note_id}:{version}"


async def put_inbox(
    change: Change, session: SessionRow, kind: str, dedupe: str, reason_slug: str | None = None
) -> InboxRecord | None:
    """Put an item into the inbox of the session's clinician, once for ``dedupe``, in a change under way."""
    if await change.db.scalar(select(InboxRow.id).where(InboxRow.dedupe == dedupe)) is not None:
        return None
    note_id = await change.db.scalar(select(NoteRow.id).where(NoteRow.session_id == session.id))
    row = InboxRow(
        id=new_id("inb"),
        clinic_id=session.clinic_id,
        session_id=session.id,
        note_id=note_id,
        clinician_user_id=session.clinician_user_id,
        kind=kind,
        dedupe=dedupe,
        reason_slug=reason_slug,
        created_at=change.now,
        read_at=None,
    )
    change.db.add(row)
    change.tell(session, "inbox.item_created", {"inbox_id": row.id, "kind": kind, "note_id": note_id})
    return inbox_record(row)


class NoteStore(WordStore):
    """What a session's words became."""

    # -- inputs --------------------------------------------------------------------------------------------------------

    async def add_input(self, session_id: str, kind: str, text: str, author_id: str) -> TextInput:
        """Keep text a clinician added. Raises SessionLocked once the note is signed or discarded."""
        made = TextInput(new_id("inp"), kind, text, author_id)
        clinic_id = await self._clinic_of(session_id)
        sealed = await self._seal(clinic_scope(clinic_id), _input_purpose(made.input_id), text.encode())
        async with self._change() as change:
            session = await change.session(session_id)
            if NoteState(session.note) in CLOSED:
                raise SessionLocked("The note is closed; nothing can be added to it.")
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

    async def save_note(self, session_id: str, content: bytes) -> NoteRecord:
        """Keep a generated draft (``generating`` becomes ``draft``); the note keeps its id, its version counts up.

        The inbox item comes with it, at once: who sees the one finds the other.

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
            row.note = machines.move(machines.NOTE, NoteState(row.note), NoteState.DRAFT).value
            row.draft_ready_at = change.now
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
                    sealed=sealed,
                    created_at=change.now,
                )
                change.db.add(note)
            else:
                note.version, note.sealed = version, sealed
            change.tell(row, "note.draft_ready", {"note_id": note_id, "version": version})
            await change.db.flush()
            await put_inbox(change, row, "draft_ready", f"draft_ready:{note_id}:{version}")
            return _note(note, row, content)

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
            session.note = machines.move(machines.NOTE, NoteState(session.note), NoteState.SIGNED).value
            note.signed_at, note.signed_by = change.now, by
            note.content_sha256 = hashlib.sha256(read.content).hexdigest()
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

    # -- the inbox -----------------------------------------------------------------------------------------------------

    async def inbox_add(
        self, session_id: str, kind: str, *, dedupe: str, reason_slug: str | None = None
    ) -> InboxRecord | None:
        """Put an item into the inbox of the session's clinician, exactly once for ``dedupe``; None the second time."""
        async with self._change() as change:
            session = await change.session(session_id)
            return await put_inbox(change, session, kind, dedupe, reason_slug)

    async def inbox(
        self,
        clinic_id: str,
        *,
        clinician_user_id: str | None = None,
        unread_only: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[InboxRecord], str | None]:
        """A clinic's items, newest first; with ``clinician_user_id`` only theirs and those that are nobody's."""
        query = (
            select(InboxRow)
            .where(*_inbox_of(clinic_id, clinician_user_id))
            .order_by(InboxRow.created_at.desc(), InboxRow.id.desc())
            .limit(limit + 1)
        )
        if unread_only:
            query = query.where(InboxRow.read_at.is_(None))
        if cursor is not None:
            query = query.where(tuple_(InboxRow.created_at, InboxRow.id) < cursor_from(cursor))
        async with self._db.read() as db:
            items = [inbox_record(row) for row in (await db.scalars(query)).all()]
        more = cursor_to(items[limit - 1].created_at, items[limit - 1].id) if len(items) > limit else None
        return items[:limit], more

    async def inbox_unread(self, clinic_id: str, *, clinician_user_id: str | None = None) -> int:
        """How many items nobody has read: the badge."""
        mine = (*_inbox_of(clinic_id, clinician_user_id), InboxRow.read_at.is_(None))
        async with self._db.read() as db:
            return await db.scalar(select(func.count()).select_from(InboxRow).where(*mine)) or 0

    async def inbox_read(self, item_id: str, *, clinic_id: str, clinician_user_id: str | None = None) -> InboxRecord:
        """Mark an item as read; again is no change. Raises NotFound, also when it is another's."""
        query = select(InboxRow).where(InboxRow.id == item_id, *_inbox_of(clinic_id, clinician_user_id))
        async with self._db.write() as db:
            row = (await db.scalars(query)).one_or_none()
            if row is None:
                raise NotFound
            row.read_at = row.read_at or self._clock.now()
            return inbox_record(row)

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


def _inbox_of(clinic_id: str, clinician_user_id: str | None) -> tuple[ColumnElement[bool], ...]:
    mine = InboxRow.clinic_id == clinic_id
    if clinician_user_id is None:
        return (mine,)
    return mine, or_(InboxRow.clinician_user_id == clinician_user_id, InboxRow.clinician_user_id.is_(None))


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
    )
