"""Receipts that belong to a clinic: those of sessions that are deleted, and of what is done with whole records.

Each is the exact file that was signed, and holds ids, counts and times only. They are kept when everything else of a
client, or of the clinic, is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import NotFound
from bot.store.db import Database
from bot.store.ground import cursor_from, cursor_to
from bot.store.models import ReceiptRow
from bot.store.receipts import METHOD
from bot.store.record_rows import ClinicReceiptRow
from bot.store.records import new_id

RECORD_TYPE = "quietnote.record-receipt"
"""Type of a receipt of what destroys nothing: an export, a hold that was placed or lifted."""
CLEAR = METHOD.replace("Purge (cryptographic erase)", "Clear (rows deleted and overwritten)")
"""The standard's name for what happens to notes, names and typed text while their clinic's key stays."""
MIXED = f"{METHOD} of words and sound, Clear (rows deleted and overwritten) of the rest"
_PAGE = 200


@dataclass(frozen=True, slots=True)
class ClinicReceipt:
    """A signed receipt that belongs to a clinic."""

    id: str
    clinic_id: str
    session_id: str
    """The session it was issued for; empty: none."""
    kind: str
    body: bytes = field(repr=False)
    created_at: datetime


def keep_receipt(db: AsyncSession, clinic_id: str, kind: str, body: bytes, now: datetime) -> ClinicReceipt:
    """Keep a receipt in a transaction under way."""
    row = ClinicReceiptRow(
        id=new_id("rcp"), clinic_id=clinic_id, session_id="", kind=kind, body=body, created_at=now
    )
    db.add(row)
    return _record(row)


async def move_receipts(db: AsyncSession, clinic_id: str, session_id: str) -> int:
    """Let a session's receipts outlive it; how many it had."""
    rows = (await db.scalars(select(ReceiptRow).where(ReceiptRow.session_id == session_id))).all()
    for row in rows:
        moved = {"id": row.id, "session_id": session_id, "kind": row.kind, "body": row.body}
        db.add(ClinicReceiptRow(clinic_id=clinic_id, created_at=row.created_at, **moved))
        await db.delete(row)
    await db.flush()
    return len(rows)


class ClinicReceiptStore:
    """The receipts of clinics."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, clinic_id: str, kind: str, body: bytes, now: datetime) -> ClinicReceipt:
        """Keep a signed receipt."""
        async with self._db.write() as db:
            return keep_receipt(db, clinic_id, kind, body, now)

    async def get(self, receipt_id: str, *, clinic_id: str | None = None) -> ClinicReceipt:
        """One receipt. Raises NotFound, also when it is another clinic's."""
        async with self._db.read() as db:
            row = await db.get(ClinicReceiptRow, receipt_id)
        if row is None or clinic_id not in {None, row.clinic_id}:
            raise NotFound
        return _record(row)

    async def page(
        self, clinic_id: str | None, *, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[ClinicReceipt], str | None]:
        """A clinic's receipts, or everybody's, newest first, and the cursor of the next page."""
        r = ClinicReceiptRow
        query = select(r).order_by(r.created_at.desc(), r.id.desc()).limit(limit + 1)
        if clinic_id is not None:
            query = query.where(r.clinic_id == clinic_id)
        if cursor is not None:
            query = query.where(tuple_(r.created_at, r.id) < cursor_from(cursor))
        async with self._db.read() as db:
            found = [_record(row) for row in (await db.scalars(query)).all()]
        more = cursor_to(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None
        return found[:limit], more

    async def every(self, clinic_id: str | None) -> AsyncIterator[ClinicReceipt]:
        """All of them, newest first, however many there are."""
        cursor: str | None = None
        while True:
            found, cursor = await self.page(clinic_id, limit=_PAGE, cursor=cursor)
            for one in found:
                yield one
            if cursor is None:
                return


def _record(row: ClinicReceiptRow) -> ClinicReceipt:
    return ClinicReceipt(row.id, row.clinic_id, row.session_id, row.kind, row.body, row.created_at)
