"""The Notes inbox: items exactly once, each reader's own read state, and what changed since a reader looked last.

Every change of a clinic's inbox, reading included, takes the clinic's next number in the transaction that makes it.
Numbers are committed in their order, so that whoever read up to one has missed nothing before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, ForeignKey, Integer, Select, String, and_, exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot.errors import NotFound
from bot.store.chain import Deed
from bot.store.ground import Change, Ground, cursor_from, cursor_to
from bot.store.models import Base, ClinicRow, InboxRow, NoteRow, SessionRow
from bot.store.records import InboxRecord, inbox_record, new_id

DRAFT_READY = "draft_ready"
MADE_AGAIN, WORDS_ADDED = "made-again", "words-added"
"""Why an item tells of a draft anew: recording went on after Finish, and it was made again, or was edited and stays."""
WORDS_CAME, WORDS_LATE = "words-came", "words-late"
"""The same where the recording was put into words only after the draft had been made from what was typed."""
ANEW = frozenset({MADE_AGAIN, WORDS_ADDED, WORDS_CAME, WORDS_LATE})
PLATFORM = "platform"
"""The reader that all keys of a clinic's platform are."""


class InboxReadRow(Base):
    """That somebody has read an item."""

    __tablename__ = "inbox_reads"
    item_id: Mapped[str] = mapped_column(ForeignKey("inbox.id"), primary_key=True)
    reader: Mapped[str] = mapped_column(String(128), primary_key=True)
    """A user's id, or :data:`PLATFORM`."""
    read_at: Mapped[datetime]
    seq: Mapped[int] = mapped_column(Integer)


@dataclass(frozen=True, slots=True)
class InboxNews:
    """What changed for a reader."""

    seq: int
    """The clinic's number up to which they know everything now."""
    items: tuple[InboxRecord, ...]
    """As they are now, the oldest change first."""
    unread: int


async def put_inbox(
    change: Change, session: SessionRow, kind: str, dedupe: str, reason_slug: str | None = None
) -> InboxRecord | None:
    """Put an item into the inbox of the session's clinician, once for ``dedupe``, in a change under way."""
    if await change.db.scalar(select(InboxRow.id).where(InboxRow.dedupe == dedupe)) is not None:
        return None
    note_id = await change.db.scalar(select(NoteRow.id).where(NoteRow.session_id == session.id))
    if reason_slug in ANEW and (unread := await _unread_draft(change, session)) is not None:
        unread.reason_slug, unread.created_at, unread.dedupe = reason_slug, change.now, dedupe
        unread.seq = await next_seq(change.db, session.clinic_id)
        return inbox_record(unread)
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
        seq=await next_seq(change.db, session.clinic_id),
    )
    change.db.add(row)
    change.tell(session, "inbox.item_created", {"inbox_id": row.id, "kind": kind, "note_id": note_id})
    return inbox_record(row)


async def set_aside(change: Change, session: SessionRow) -> None:
    """What nobody has read of a session counts as read by everybody: what it tells of is gone."""
    i = InboxRow
    unread = select(i).where(i.session_id == session.id, i.read_at.is_(None))
    for row in (await change.db.scalars(unread)).all():
        row.read_at, row.seq = change.now, await next_seq(change.db, session.clinic_id)


async def next_seq(db: AsyncSession, clinic_id: str) -> int:
    """The next number of a clinic's inbox; no other change of it gets one before this transaction ends."""
    # not the whole row: who adds one that names the clinic holds its key, and may want a number too
    clinic = await db.get_one(ClinicRow, clinic_id, with_for_update={"key_share": True})
    clinic.inbox_seq += 1
    await db.flush()
    return clinic.inbox_seq


async def _unread_draft(change: Change, session: SessionRow) -> InboxRow | None:
    """The item that tells of this session's draft already, and that nobody has read."""
    i = InboxRow
    mine = (i.session_id == session.id, i.kind == DRAFT_READY, i.read_at.is_(None), ~_read_by(None))
    return (await change.db.scalars(select(i).where(*mine).order_by(i.created_at.desc()).limit(1))).one_or_none()


class InboxStore(Ground):
    """The inbox. ``reader`` is whose read state counts; without one, what anybody has read is read."""

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
        reader: str | None = None,
        unread_only: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[InboxRecord], str | None]:
        """A clinic's items, newest first; with ``clinician_user_id`` only theirs and those that are nobody's."""
        query = (
            _items(reader)
            .where(*_inbox_of(clinic_id, clinician_user_id))
            .order_by(InboxRow.created_at.desc(), InboxRow.id.desc())
            .limit(limit + 1)
        )
        if unread_only:
            query = query.where(_unread_by(reader))
        if cursor is not None:
            query = query.where(tuple_(InboxRow.created_at, InboxRow.id) < cursor_from(cursor))
        async with self._db.read() as db:
            items = [_record(row, read) for row, read in (await db.execute(query)).all()]
        more = cursor_to(items[limit - 1].created_at, items[limit - 1].id) if len(items) > limit else None
        return items[:limit], more

    async def inbox_unread(
        self, clinic_id: str, *, clinician_user_id: str | None = None, reader: str | None = None
    ) -> int:
        """How many items the reader has not read: the badge."""
        async with self._db.read() as db:
            return await _count(db, clinic_id, clinician_user_id, reader)

    async def inbox_read(
        self, item_id: str, *, clinic_id: str, clinician_user_id: str | None = None, reader: str | None = None
    ) -> InboxRecord:
        """Mark an item as read by the reader; again is no change. Raises NotFound, also when it is another's."""
        query = select(InboxRow).where(InboxRow.id == item_id, *_inbox_of(clinic_id, clinician_user_id))
        async with self._change() as change:
            row = (await change.db.scalars(query)).one_or_none()
            if row is None:
                raise NotFound
            # the number's lock comes first: of two requests at once one finds what the other wrote
            seq = await next_seq(change.db, clinic_id)
            of_it = [InboxReadRow.item_id == item_id]
            if reader is not None:
                of_it.append(InboxReadRow.reader == reader)
            read_at = await change.db.scalar(select(func.min(InboxReadRow.read_at)).where(*of_it))
            if read_at is None and row.read_at is None:
                read_at = change.now
                who = reader or clinician_user_id or PLATFORM
                change.db.add(InboxReadRow(item_id=item_id, reader=who, read_at=read_at, seq=seq))
                change.deeds.append(Deed(clinic_id, "inbox.read", item_id, row.session_id))
            return _record(row, read_at)

    async def whose(self, session_id: str) -> tuple[str, str | None]:
        """Clinic and clinician of a session. Raises NotFound."""
        s = SessionRow
        async with self._db.read() as db:
            query = select(s.clinic_id, s.clinician_user_id).where(s.id == session_id)
            found = (await db.execute(query)).one_or_none()
        if found is None:
            raise NotFound
        return found.clinic_id, found.clinician_user_id

    async def inbox_since(
        self, clinic_id: str, after: int | None, *, clinician_user_id: str | None = None, reader: str | None = None
    ) -> InboxNews:
        """What changed in an inbox after a number, for the reader; without one, only how many they have not read."""
        read_since = exists().where(*_read(reader), InboxReadRow.seq > (after or 0))
        query = (
            _items(reader)
            .where(*_inbox_of(clinic_id, clinician_user_id))
            .where(or_(InboxRow.seq > (after or 0), read_since))
            .order_by(InboxRow.seq, InboxRow.id)
        )
        async with self._db.read() as db:
            seq = await db.scalar(select(ClinicRow.inbox_seq).where(ClinicRow.id == clinic_id)) or 0
            rows = (await db.execute(query)).all() if after is not None else ()
            unread = await _count(db, clinic_id, clinician_user_id, reader)
        return InboxNews(seq, tuple(_record(row, read) for row, read in rows), unread)


def _items(reader: str | None) -> Select[InboxRow, datetime | None]:
    """Items, each with when it was read first."""
    read_at = select(func.min(InboxReadRow.read_at)).where(*_read(reader)).scalar_subquery()
    return select(InboxRow, read_at)


def _record(row: InboxRow, read_at: datetime | None) -> InboxRecord:
    return replace(inbox_record(row), read_at=read_at or row.read_at)


def _read(reader: str | None) -> tuple[ColumnElement[bool], ...]:
    """The readings of an item by a reader; by anybody at all without one."""
    of_it = InboxReadRow.item_id == InboxRow.id
    return (of_it,) if reader is None else (of_it, InboxReadRow.reader == reader)


def _read_by(reader: str | None) -> ColumnElement[bool]:
    return exists().where(*_read(reader))


def _unread_by(reader: str | None) -> ColumnElement[bool]:
    return and_(InboxRow.read_at.is_(None), ~_read_by(reader))


async def _count(db: AsyncSession, clinic_id: str, clinician_user_id: str | None, reader: str | None) -> int:
    mine = (*_inbox_of(clinic_id, clinician_user_id), _unread_by(reader))
    return await db.scalar(select(func.count()).select_from(InboxRow).where(*mine)) or 0


def _inbox_of(clinic_id: str, clinician_user_id: str | None) -> tuple[ColumnElement[bool], ...]:
    mine = InboxRow.clinic_id == clinic_id
    if clinician_user_id is None:
        return (mine,)
    return mine, or_(InboxRow.clinician_user_id == clinician_user_id, InboxRow.clinician_user_id.is_(None))
