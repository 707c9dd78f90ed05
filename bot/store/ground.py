"""What every part of the session store stands on: database, keys, clock, and the one way to write an event."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from bot.errors import ConfigInvalid, NotFound
from bot.events import SessionEvent
from bot.store.db import Database
from bot.store.models import NoteRow, SessionEventRow, SessionRow
from bot.store.records import SessionRecord, TranscriptPurge, session_record
from bot.store.vault import Vault

log = structlog.get_logger()

EventListener = Callable[[SessionEvent], None]
PurgeReceipt = Callable[[TranscriptPurge], bytes]
"""Signs what a purge did; wired by the composition root to :mod:`bot.store.erase`."""


def words_scope(session_id: str) -> str:
    """The vault scope of a session's words."""
    return f"words:{session_id}"


def clinic_scope(clinic_id: str) -> str:
    """The vault scope of what outlives a transcript."""
    return f"clinic:{clinic_id}"


class Ground:
    """Database, vault and clock, and what the parts share."""

    def __init__(self, db: Database, vault: Vault, clock: Clock, *, purge_receipt: PurgeReceipt | None = None) -> None:
        self._db = db
        self._vault = vault
        self._clock = clock
        self._listeners: list[EventListener] = []
        self.purge_receipt = purge_receipt

    def listen(self, listener: EventListener) -> None:
        """Call ``listener`` on the event loop after each committed event. It must not block and not raise."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[Change]:
        """One write transaction; its events are told to the listeners once it is committed."""
        async with self._db.write() as db:
            change = Change(db, self._clock.now())
            yield change
        for event in change.events:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001 - a listener's fault must not undo what is committed
                    log.error("event_listener_failed", kind=event.kind, error=type(error).__name__)

    async def _seal(self, scope: str, purpose: str, plaintext: bytes) -> bytes:
        return await asyncio.to_thread(self._vault.seal, scope, purpose, plaintext)

    async def _unseal(self, scope: str, purpose: str, sealed: bytes) -> bytes:
        return await asyncio.to_thread(self._vault.unseal, scope, purpose, sealed)

    async def _unseal_all(self, scope: str, items: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Open many envelopes of one scope, given as (purpose, sealed), in one trip off the loop."""
        if not items:
            return []

        def work() -> list[bytes]:
            return [self._vault.unseal(scope, purpose, sealed) for purpose, sealed in items]

        return await asyncio.to_thread(work)


class Change:
    """A write transaction under way."""

    def __init__(self, db: AsyncSession, now: datetime) -> None:
        self.db = db
        self.now = now
        self.events: list[SessionEvent] = []

    async def session(self, session_id: str) -> SessionRow:
        """The session's row, held against other writers. Raises NotFound."""
        row = await self.db.get(SessionRow, session_id, with_for_update=True)
        if row is None:
            raise NotFound
        return row

    def tell(self, row: SessionRow, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Write the event of a change, in the change's own transaction."""
        row.seq += 1
        event = SessionEvent(row.id, row.seq, kind, self.now, dict(data or {}))
        self.db.add(SessionEventRow(session_id=row.id, seq=row.seq, kind=kind, at=self.now, data=dict(event.data)))
        self.events.append(event)

    async def record(self, row: SessionRow) -> SessionRecord:
        """The record as it will stand."""
        return await record_of(self.db, row)


async def record_of(db: AsyncSession, row: SessionRow) -> SessionRecord:
    """A session's record, with the id of its note."""
    return session_record(row, await db.scalar(select(NoteRow.id).where(NoteRow.session_id == row.id)))


# -- cursors -----------------------------------------------------------------------------------------------------------


def cursor_to(at: datetime, item_id: str) -> str:
    """Where a list, newest first, goes on: opaque to callers."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{item_id}".encode()).decode().rstrip("=")


def cursor_from(cursor: str) -> tuple[datetime, str]:
    """The position in a cursor. Raises ConfigInvalid for one that is not ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, item_id = text.partition("|")
        when = datetime.fromisoformat(at)
    except (ValueError, binascii.Error):
        raise ConfigInvalid("cursor: not one that was given out here.") from None
    if when.tzinfo is None or not item_id:
        raise ConfigInvalid("cursor: not one that was given out here.")
    return when, item_id
