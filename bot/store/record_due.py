"""Whole records whose time is up, and deletions that were not finished: looked for at start and on a schedule."""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from bot.store.deletions import RETENTION, Deleter
from bot.store.receipts import ReceiptSigner
from bot.store.sessions import SessionStore

log = structlog.get_logger()

AT_ONCE = 100
"""Records of a kind that one round takes; the next one goes on."""


class RecordsDue:
    """Destroys notes and drafts past their time, and carries deletions through. Idempotent."""

    def __init__(self, store: SessionStore, deleter: Deleter, signer: ReceiptSigner) -> None:
        self._store = store
        self._deleter = deleter
        self._signer = signer
        self.overdue = 0
        """Notes and drafts that were still there after the last round."""
        self.unfinished = 0
        """Deletions that were not finished after it."""

    async def destroy(self) -> None:
        """One round. What fails for one record is tried at the next round and stops no other.

        Raises StorageUnavailable when the database cannot even be read.
        """
        for deletion_id in await self._deleter.unfinished():
            await _guarded("deletion", None, self._deleter.carry_out(deletion_id))
        now = self._store.settled_now()
        for session_id, clinic_id in await self._store.due_records(now, limit=AT_ONCE):
            work = self._deleter.session(clinic_id, session_id, reason=RETENTION, by="system")
            await _guarded("record", session_id, work)
        for session_id in await self._store.due_drafts(now, limit=AT_ONCE):
            work_on_draft = self._store.destroy_draft(session_id, now, self._signer.sign)
            await _guarded("draft", session_id, work_on_draft)
        self.overdue = await self._store.count_due(now)
        self.unfinished = len(await self._deleter.unfinished())

    async def check(self) -> str | None:
        """For readiness: None while no deletion stands still and no note is kept beyond its time."""
        if self.unfinished:
            return f"{self.unfinished} deletions could not be finished; each is tried every minute."
        if self.overdue:
            return f"Past their time and still there: {self.overdue} notes or drafts."
        return None


async def _guarded(what: str, session_id: str | None, work: Awaitable[object]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001  the next round tries again
        log.warning("sweep_failed", what=what, session_id=session_id, error=type(error).__name__)
