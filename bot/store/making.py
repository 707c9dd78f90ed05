"""How far the end of a session is: the step, its count, when it last moved; and which attempt at a note may be kept.

One row a session, of its newest part. It is what pages show when they are opened, what a stall is recognised by over
restarts, and the count of the tries at its words.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, Integer, String, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot import machines
from bot.errors import QuietnoteError
from bot.events import AudioState, CaptureState, NoteState, TranscriptState
from bot.store.ground import Ground, record_of
from bot.store.inbox_store import put_inbox
from bot.store.models import Base, InputRow, SessionEventRow, SessionRow
from bot.store.records import SessionRecord

DELAYED = "transcription-delayed"
"""The words are not there yet: recognition failed, and is tried again until the audio's time is up."""
NO_PROGRESS = "no-progress"
TRANSCRIPT, DRAFT = "transcript", "draft"
ASKED_FOR = (NoteState.QUEUED.value, NoteState.GENERATING.value)
MOVED = ("note.", "transcript.", "audio.", "capture.")
"""Kinds of events that are progress by themselves."""


class Superseded(QuietnoteError):
    """This attempt at a note was given up, or another one began: what it wrote is not kept."""

    def __init__(self) -> None:
        super().__init__("Another attempt at this note goes on, or this one was given up.")


class MakingRow(Base):
    """How far the end of a session's newest part is."""

    __tablename__ = "making"
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    part: Mapped[int] = mapped_column(Integer, default=1)
    step: Mapped[str] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(Integer)
    total: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime]
    """When it moved last."""
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    """Of the note: counts up whenever one begins, or is given up."""
    tries: Mapped[int] = mapped_column(Integer, default=0)
    """How often this part's sound could not be put into words."""
    tried_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Making:
    """How far the end of a session's newest part is."""

    step: str
    done: int
    total: int
    at: datetime
    tries: int
    """How often its sound could not be put into words."""
    tried_at: datetime | None


def has_time(record: SessionRecord, now: datetime) -> bool:
    """True while a session's audio need not be destroyed yet."""
    return record.erase_by is not None and now < record.erase_by


async def check_attempt(db: AsyncSession, session_id: str, attempt: int) -> None:
    """Raise :class:`Superseded` unless this is still the attempt whose note is kept."""
    row = await db.get(MakingRow, session_id)
    if row is None or row.attempt != attempt:
        raise Superseded


class MakingStore(Ground):
    """Progress, attempts, and tries at the words."""

    async def making(self, session_id: str) -> Making | None:
        """How far it is; None before the first step."""
        return (await self.makings([session_id])).get(session_id)

    async def makings(self, session_ids: Collection[str]) -> dict[str, Making]:
        """The same of several sessions, of those that have come to a step."""
        m, s = MakingRow, SessionRow
        query = select(m).join(s, s.id == m.session_id).where(m.session_id.in_(session_ids), m.part == s.part)
        async with self._db.read() as db:
            rows = (await db.scalars(query)).all()
        return {r.session_id: Making(r.step, r.done, r.total, r.at, r.tries, r.tried_at) for r in rows}

    async def made_progress(self, session_id: str, step: str, done: int, total: int) -> None:
        """A step came so far. Writes no event: it is worth nothing once the next one is there."""
        async with self._db.write() as db:
            row = await self._row(db, await self._hold(db, session_id))
            row.step, row.done, row.total, row.at = step, done, total, self._clock.now()

    async def begin_writing(self, session_id: str) -> int:
        """Let a queued note be written, or written anew; the attempt's number. Older attempts are kept no more."""
        async with self._change() as change:
            session = await change.session(session_id)
            if NoteState(session.note) in {NoteState.ABSENT, NoteState.FAILED}:
                session.note = machines.move(machines.NOTE, NoteState(session.note), NoteState.QUEUED).value
                session.failure_slug = None
                change.tell(session, "note.queued")
            if NoteState(session.note) is NoteState.QUEUED:
                session.note = machines.move(machines.NOTE, NoteState(session.note), NoteState.GENERATING).value
                change.tell(session, "note.generating")
            row = await self._row(change.db, session)
            row.step, row.done, row.total, row.at = DRAFT, 0, 1, change.now
            row.attempt += 1
            return row.attempt

    async def fail_note(self, session_id: str, slug: str) -> SessionRecord:
        """A note could not be made, because of ``slug``; one that is there, or has failed already, stays as it is."""
        async with self._change() as change:
            session = await change.session(session_id)
            if NoteState(session.note) is NoteState.ABSENT:
                session.note = NoteState.QUEUED.value
                change.tell(session, "note.queued")
            if session.note in ASKED_FOR:
                session.note = machines.move(machines.NOTE, NoteState(session.note), NoteState.FAILED).value
                session.failure_slug = slug
                change.tell(session, "note.failed")
            return await change.record(session)

    async def give_up_note(self, session_id: str, seen: datetime) -> bool:
        """A note that made no progress since ``seen`` has failed, and what may still come of it is not kept.

        False when it moved meanwhile.
        """
        async with self._change() as change:
            session = await change.session(session_id)
            row = await self._row(change.db, session)
            if session.note not in ASKED_FOR or row.at > seen or await _last_event(change.db, session_id) > seen:
                return False
            session.note = machines.move(machines.NOTE, NoteState(session.note), NoteState.FAILED).value
            session.failure_slug = NO_PROGRESS
            row.attempt += 1
            change.tell(session, "note.failed")
            return True

    async def delay_words(self, session_id: str, seen: datetime | None = None) -> SessionRecord:
        """A part's sound could not be put into words yet: counted, and told once.

        With ``seen`` only if nothing moved since then. A note that was asked for meanwhile goes on where something was
        typed that it can be made from; otherwise it has failed until the words are there.
        """
        async with self._change() as change:
            session = await change.session(session_id)
            row = await self._row(change.db, session)
            waits = session.transcript == TranscriptState.LIVE and session.capture == CaptureState.FINISHED
            moved = seen is not None and (row.at > seen or await _last_event(change.db, session_id) > seen)
            if not waits or moved or session.withdrawn_by is not None:
                return await change.record(session)
            row.tries += 1
            row.tried_at = row.at = change.now
            typed = select(InputRow.id).where(InputRow.session_id == session_id).limit(1)
            goes_on = session.part == 1 and await change.db.scalar(typed) is not None
            if session.note in ASKED_FOR and not goes_on:
                session.note = machines.move(machines.NOTE, NoteState(session.note), NoteState.FAILED).value
                row.attempt += 1
                change.tell(session, "note.failed")
            if session.note in {NoteState.ABSENT.value, NoteState.FAILED.value}:
                session.failure_slug = DELAYED
            change.tell(session, "transcript.delayed", {"tries": row.tries})
            await put_inbox(change, session, "failed", f"{DELAYED}:{session.id}:{session.part}", DELAYED)
            return await change.record(session)

    async def words_due(self, session_id: str, waits_s: Sequence[int]) -> bool:
        """Whether a part's sound is to be tried again by now; ``waits_s`` are the waits after each try, the last one
        again and again.
        """
        making = await self.making(session_id)
        if making is None or not making.tries or making.tried_at is None:
            return True
        wait = timedelta(seconds=waits_s[min(making.tries, len(waits_s)) - 1])
        return making.tried_at + wait <= self._clock.now()

    async def stalled(self, before: datetime) -> list[tuple[SessionRecord, datetime]]:
        """Sessions whose note, or whose words, have been under way without a sign since ``before``, and since when."""
        s, m, e = SessionRow, MakingRow, SessionEventRow
        words = (s.capture == CaptureState.FINISHED.value) & (s.transcript == TranscriptState.LIVE.value)
        words &= (s.audio == AudioState.HELD.value) & s.withdrawn_by.is_(None)
        words &= or_(m.tries.is_(None), m.tries == 0)  # who was told already waits for the next try
        last = select(func.max(e.at)).where(e.session_id == s.id, _moves()).scalar_subquery()
        query = select(s, m, last.label("last")).outerjoin(m, (m.session_id == s.id) & (m.part == s.part))
        query = query.where(or_(s.note.in_(ASKED_FOR), words), last <= before, or_(m.at.is_(None), m.at <= before))
        async with self._db.read() as db:
            found = []
            for session, row, at in (await db.execute(query)).all():
                seen = max(at, row.at) if row is not None else at
                found.append((await record_of(db, session), seen))
        return found

    async def _row(self, db: AsyncSession, session: SessionRow) -> MakingRow:
        row = await db.get(MakingRow, session.id)
        if row is None:
            row = MakingRow(session_id=session.id, step=TRANSCRIPT, done=0, total=1, at=self._clock.now(), attempt=0)
            row.part, row.tries, row.tried_at = session.part, 0, None
            db.add(row)
        elif row.part != session.part:
            row.part, row.step, row.done, row.total, row.tries, row.tried_at = session.part, TRANSCRIPT, 0, 1, 0, None
            row.at = self._clock.now()
        return row


def _moves() -> Any:
    return or_(*(SessionEventRow.kind.startswith(prefix) for prefix in MOVED))


async def _last_event(db: AsyncSession, session_id: str) -> datetime:
    e = SessionEventRow
    at: datetime = await db.scalar(select(func.max(e.at)).where(e.session_id == session_id, _moves()))  # type: ignore[assignment]
    return at
