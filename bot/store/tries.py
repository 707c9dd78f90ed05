"""How often a note was tried: which failure is a new one, and which notes are due to be tried again by themselves.

Both are read from the session's events. A note that fails again after it was queued by the service itself has not
failed anew: whoever asked for it was told already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select

from bot.events import NoteState, TranscriptState
from bot.store.ground import Ground
from bot.store.models import SessionEventRow, SessionRow

QUEUED, FAILED = "note.queued", "note.failed"
BY_ITSELF = "system"
"""Who asked, in :data:`QUEUED`, where nobody did."""
FAILURES = frozenset({FAILED, "transcript.failed", "transcript.ready", "transcript.absent"})
"""Events that may bring a failure with them."""


class TryStore(Ground):
    """The tries at a session's note."""

    async def failed_at(self, session_id: str) -> int:
        """Sequence number of the event that told first of the failure that stands; 0 for none."""
        e = SessionEventRow
        query = select(e).where(e.session_id == session_id, e.kind.in_([*FAILURES, QUEUED])).order_by(e.seq)
        async with self._db.read() as db:
            events = (await db.scalars(query)).all()
        first, again = 0, False
        for event in events:
            if event.kind == QUEUED:
                again = _by_itself(event)
            elif event.kind != FAILED or not again:
                first = event.seq
        return first

    async def due_notes(self, causes: Collection[str], waits_s: Sequence[int]) -> list[str]:
        """Sessions whose note failed for one of ``causes`` and is to be tried again by now, while its words are there.

        ``waits_s`` are the waits since the last failure: after the first one, after the second, and so on. There are as
        many tries as waits; who asks for the note begins anew.
        """
        s, e = SessionRow, SessionEventRow
        query = (
            select(e)
            .join(s, s.id == e.session_id)
            .where(
                s.note == NoteState.FAILED.value,
                s.failure_slug.in_(list(causes)),
                s.transcript != TranscriptState.PURGED.value,
                e.kind.in_([QUEUED, FAILED]),
            )
            .order_by(e.session_id, e.seq)
        )
        failures: defaultdict[str, list[datetime]] = defaultdict(list)
        async with self._db.read() as db:
            for event in (await db.scalars(query)).all():
                if event.kind == FAILED:
                    failures[event.session_id].append(event.at)
                elif not _by_itself(event):
                    failures[event.session_id].clear()
        now, waits = self._clock.now(), [timedelta(seconds=wait) for wait in waits_s]
        return [
            session_id
            for session_id, at in failures.items()
            if 0 < len(at) <= len(waits) and at[-1] + waits[len(at) - 1] <= now
        ]


def _by_itself(event: SessionEventRow) -> bool:
    return bool(event.data.get("by") == BY_ITSELF)
