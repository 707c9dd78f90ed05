"""How long sound and words are kept: what is due, who is told before, and what is past its time all the same.

Times are fixed when a session ends, by the configuration it was made with: ``purge_at`` for its transcript and
``erase_by`` for its audio. Signing, and a withdrawal, bring ``purge_at`` forward; another
part sets both anew at its end. All are UTC.

Who asks for a transcript is answered by the clock as it is. What is destroyed for good goes by
:class:`bot.clock.SettledTime`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import String, cast, exists, func, literal, select

from bot.clock import SettledTime
from bot.events import AudioState, NoteState, TranscriptState
from bot.store.ground import Ground
from bot.store.inbox_store import put_inbox
from bot.store.models import InboxRow, SessionRow

if TYPE_CHECKING:
    from bot.store.sessions import SessionStore

log = structlog.get_logger()

EXPIRING = "transcript_expiring"
"""The inbox item's kind."""
WARN_BEFORE = timedelta(days=1)
"""Where words are kept for less than two days, it is half of that."""
KEPT = tuple(state.value for state in (TranscriptState.LIVE, TranscriptState.READY, TranscriptState.FAILED))
CLOSED = tuple(state.value for state in (NoteState.SIGNED, NoteState.AMENDED, NoteState.DISCARDED))
CLOCKS_PART = timedelta(minutes=5)
"""By so much a session may seem to have ended in the future: several machines' clocks never agree wholly."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """What should be gone and is not, in sessions."""

    audio: int = 0
    transcripts: int = 0


class RetentionStore(Ground):
    """What is kept for a time."""

    _settled: SettledTime | None = None

    def settled_now(self) -> datetime:
        """The time that things are destroyed by."""
        if self._settled is None:
            self._settled = SettledTime(self._clock)
        return self._settled.now()

    async def warn_expiring(self, now: datetime) -> int:
        """Tell clinicians of transcripts that go within a day, each once a part; how many items that made.

        Not where the note is signed or discarded: there is nothing left to do with the words.
        """
        s, i = SessionRow, InboxRow
        key = literal(f"{EXPIRING}:") + s.id + ":" + cast(s.part, String)
        query = select(s.id, s.ended_at, s.purge_at).where(
            s.purge_at > now,
            s.purge_at <= now + WARN_BEFORE,
            s.transcript.in_(KEPT),
            s.note.not_in(CLOSED),
            ~exists().where(i.dedupe == key),
        )
        async with self._db.read() as db:
            near = [(row.id, _warn_at(row.ended_at, row.purge_at)) for row in (await db.execute(query)).all()]
        made = 0
        for session_id in (one for one, warn_at in near if warn_at <= now):
            async with self._change() as change:
                row = await change.session(session_id)
                if row.transcript in KEPT and row.note not in CLOSED and row.purge_at is not None:
                    made += await put_inbox(change, row, EXPIRING, f"{EXPIRING}:{row.id}:{row.part}") is not None
        return made

    async def correct_ends(self, now: datetime) -> int:
        """Put right what a clock that ran ahead wrote; how many sessions that were.

        A session cannot have ended after now. Its times move back by as much as the clock was put back, or, where that
        is not known any more, as its end lies ahead: a clock that was wrong for an hour keeps nobody's words longer.
        """
        s = SessionRow
        ahead = s.ended_at > now + CLOCKS_PART
        async with self._db.read() as db:
            wrong = (await db.scalars(select(s.id).where(ahead, s.transcript.in_(KEPT)))).all()
        put_back = self._settled.put_back if self._settled is not None else timedelta()
        for session_id in wrong:
            async with self._change() as change:
                row = await change.session(session_id)
                if row.ended_at is None or row.ended_at <= now:
                    continue
                by = max(row.ended_at - now, put_back)
                row.ended_at -= by
                row.purge_at = row.purge_at - by if row.purge_at is not None else None
                row.erase_by = row.erase_by - by if row.erase_by is not None else None
                row.note_until = row.note_until - by if row.note_until is not None else None
                change.tell(row, "session.times_corrected", {"reason": "clock"})
            log.warning("session_times_corrected", session_id=session_id, seconds=int(by.total_seconds()))
        return len(wrong)

    async def overdue(self, now: datetime) -> Overdue:
        """What is past its time and still there."""
        s = SessionRow
        audio = select(func.count()).where(s.erase_by <= now, s.audio == AudioState.HELD.value)
        words = select(func.count()).where(s.purge_at <= now, s.transcript.in_(KEPT))
        async with self._db.read() as db:
            return Overdue(await db.scalar(audio) or 0, await db.scalar(words) or 0)


class Due:
    """Destroys what is due: at start before anything is served, and on a schedule. Idempotent."""

    def __init__(self, store: SessionStore, force_erasure: Callable[[str], Awaitable[object]]) -> None:
        self._store = store
        self._force_erasure = force_erasure
        self.overdue = Overdue()
        """What was still there when it was last tried."""

    async def destroy(self) -> None:
        """Destroy what is past its time, and warn of what soon will be.

        What fails for one session is tried at the next round and stops no other. Raises StorageUnavailable when the
        database cannot even be read.
        """
        store = self._store
        now = store.settled_now()
        await _guarded("correct", None, store.correct_ends(now))
        for session_id in await store.due_erasures(now):
            log.error("erase_overdue", session_id=session_id)
            await _guarded("erase", session_id, self._force_erasure(session_id))
        for session_id in await store.due_purges(now):
            await _guarded("purge", session_id, store.purge_transcript(session_id, "retention"))
        await _guarded("warn", None, store.warn_expiring(now))
        self.overdue = await store.overdue(now)
        if self.overdue.transcripts:
            log.error("purge_overdue", count=self.overdue.transcripts)

    async def check(self) -> str | None:
        """For readiness: None while nothing is kept beyond its time."""
        late = self.overdue
        if late.audio or late.transcripts:
            return f"Past their time and still there: audio of {late.audio}, words of {late.transcripts} sessions."
        return None


def _warn_at(ended_at: datetime | None, purge_at: datetime) -> datetime:
    kept = purge_at - ended_at if ended_at is not None else 2 * WARN_BEFORE
    return purge_at - min(WARN_BEFORE, kept / 2)


async def _guarded(what: str, session_id: str | None, work: Awaitable[object]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001  the next round tries again
        log.warning("sweep_failed", what=what, session_id=session_id, error=type(error).__name__)
