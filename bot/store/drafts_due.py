"""The end of a draft that nobody signed: it goes on its day, with what was typed for it, and a receipt says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import ColumnElement, delete, func, or_, select

from bot.events import NoteState
from bot.store.clinic_receipts import CLEAR
from bot.store.ground import Change
from bot.store.holds import is_held, is_under_way
from bot.store.models import InputRow, SessionEventRow, SessionRow
from bot.store.note_store import NoteStore
from bot.store.parts import discard_draft
from bot.store.receipts import timestamp

log = structlog.get_logger()

DISCARDED = "note.discarded"
RETENTION = "retention"
KIND_NOTE = "note"
SIGNED = (NoteState.SIGNED.value, NoteState.AMENDED.value)


class DraftStore(NoteStore):
    """Notes whose time is up."""

    async def due_records(self, now: datetime, *, limit: int) -> list[tuple[str, str]]:
        """Session and clinic of signed notes whose time is up, the longest overdue first; not what is held."""
        s = SessionRow
        query = select(s.id, s.clinic_id).where(_due(now, *SIGNED)).order_by(s.note_until).limit(limit)
        async with self._db.read() as db:
            return [(row.id, row.clinic_id) for row in (await db.execute(query)).all()]

    async def due_drafts(self, now: datetime, *, limit: int) -> list[str]:
        """Sessions with a draft whose time is up, and those whose draft went without its receipt so far."""
        s = SessionRow
        gone = (s.note == NoteState.DISCARDED.value) & (s.note_until <= now) & s.deletion_id.is_(None)
        due = or_(_due(now, NoteState.DRAFT.value), gone)
        async with self._db.read() as db:
            return list((await db.scalars(select(s.id).where(due).order_by(s.note_until).limit(limit))).all())

    async def count_due(self, now: datetime) -> int:
        """How many notes and drafts are past their time and still there, but for those that are held."""
        query = select(func.count()).select_from(SessionRow).where(_due(now, *SIGNED, NoteState.DRAFT.value))
        async with self._db.read() as db:
            return await db.scalar(query) or 0

    async def destroy_draft(self, session_id: str, now: datetime, sign: Callable[[Mapping[str, Any]], bytes]) -> None:
        """Destroy a draft whose time is up by ``now``; idempotent, and a try after a crash issues the receipt."""
        async with self._change() as change:
            row = await change.session(session_id)
            due = select(SessionRow.id).where(SessionRow.id == session_id, _due(now, NoteState.DRAFT.value))
            if await change.db.scalar(due) is not None:
                await _discard(change, row)
            facts = await _facts(change, row)
            if facts is None:
                row.note_until = None  # thrown away by somebody: no retention did it
                return
        await self._db.checkpoint()
        await self.add_receipt(session_id, KIND_NOTE, sign(facts))
        async with self._change() as change:
            (await change.session(session_id)).note_until = None
        log.info("draft_destroyed", session_id=session_id)


async def _discard(change: Change, row: SessionRow) -> None:
    mine = InputRow.session_id == row.id
    typed = await change.db.scalar(select(func.count()).select_from(InputRow).where(mine)) or 0
    await change.db.execute(delete(InputRow).where(mine))
    await discard_draft(change, row, {"by": "system", "reason": RETENTION, "inputs": typed})
    await change.db.flush()


async def _facts(change: Change, row: SessionRow) -> Mapping[str, Any] | None:
    """What the receipt says; None when the draft is there, or something else than its time took it."""
    e = SessionEventRow
    told = select(e).where(e.session_id == row.id, e.kind == DISCARDED).order_by(e.seq.desc()).limit(1)
    event = (await change.db.scalars(told)).one_or_none()
    if NoteState(row.note) is not NoteState.DISCARDED or event is None or event.data.get("reason") != RETENTION:
        return None
    typed = event.data["inputs"]
    return {
        "kind": KIND_NOTE,
        "session_id": row.id,
        "clinic_id": row.clinic_id,
        "reason": RETENTION,
        "held": {"drafts": 1, "inputs": typed},
        "places": [{"place": "database", "removed": 1 + typed}],
        "destroyed_at": timestamp(event.at),
        "method": CLEAR,
    }


def _due(now: datetime, *states: str) -> ColumnElement[bool]:
    s = SessionRow
    mine = (s.note_until <= now) & s.note.in_(states) & s.deletion_id.is_(None)
    return mine & ~is_under_way() & ~is_held()
