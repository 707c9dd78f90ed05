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
from bot.errors import ConfigInvalid, NotFound, SessionLocked
from bot.events import SessionEvent
from bot.store import chain, serving
from bot.store.chain import Deed
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

    def __init__(
        self,
        db: Database,
        vault: Vault,
        clock: Clock,
        *,
        purge_receipt: PurgeReceipt | None = None,
        process: str | None = None,
    ) -> None:
        """``process`` is this process's name among those that share the database; None: it has it alone."""
        self._db = db
        self._vault = vault
        self._clock = clock
        self._process = process
        self._listeners: list[EventListener] = []
        self.purge_receipt = purge_receipt

    def listen(self, listener: EventListener) -> None:
        """Call ``listener`` on the event loop after each committed event. It must not block and not raise."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[Change]:
        """One write transaction, its audit included; its events are told to the listeners once it is committed."""
        async with self._db.write() as db:
            change = Change(db, self._clock.now(), self._process)
            yield change
            await chain.record(db, change.now, change.deeds)
        for event in change.events:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001 - a listener's fault must not undo what is committed
                    log.error("event_listener_failed", kind=event.kind, error=type(error).__name__)

    async def _hold(self, db: AsyncSession, session_id: str) -> SessionRow:
        """A session's row, in a transaction that writes no event. Raises as :meth:`Change.session` does."""
        return await hold(db, session_id, self._process)

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

    def __init__(self, db: AsyncSession, now: datetime, process: str | None = None) -> None:
        self.db = db
        self.now = now
        self._process = process
        self.events: list[SessionEvent] = []
        self.deeds: list[Deed] = []
        """What of it goes into the audit, at its end."""

    async def session(self, session_id: str) -> SessionRow:
        """The session's row, held against other writers. Raises NotFound, and as :func:`bot.store.serving.check`."""
        return await hold(self.db, session_id, self._process)

    def tell(self, row: SessionRow, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Write the event of a change, in the change's own transaction."""
        row.seq += 1
        event = SessionEvent(row.id, row.seq, kind, self.now, dict(data or {}))
        self.db.add(SessionEventRow(session_id=row.id, seq=row.seq, kind=kind, at=self.now, data=dict(event.data)))
        self.events.append(event)
        deed = chain.of_event(event, row.clinic_id)
        if deed is not None:
            self.deeds.append(deed)

    async def record(self, row: SessionRow) -> SessionRecord:
        """The record as it will stand."""
        return await record_of(self.db, row)


async def hold(db: AsyncSession, session_id: str, process: str | None) -> SessionRow:
    """A session's row, held for ``process`` against every other writer."""
    row = await db.get(SessionRow, session_id, with_for_update=True)
    if row is None:
        raise NotFound
    if row.deletion_id is not None:
        raise SessionLocked("This session is being deleted.")
    await serving.check(db, row, process)
    return row


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
