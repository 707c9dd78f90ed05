"""The audit chain, read and checked. What a link is, and how one is added with a change: :mod:`bot.store.chain`.

Cutting off the end, or writing the whole chain anew, does not show from the chain itself. For that a head is kept
elsewhere: the hash of the last entry at some moment, signed with the key that signs receipts. Whatever comes later must
still contain it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select

from bot.clock import Clock
from bot.errors import ConfigInvalid
from bot.store import chain
from bot.store.chain import FIRST, AuditRow, Deed
from bot.store.db import Database
from bot.store.receipts import ReceiptSigner, timestamp, verify_receipt

__all__ = ["FIRST", "AuditEntry", "AuditFilter", "AuditStore", "AuditVerdict", "Head"]

HEAD_TYPE = "quietnote.audit-head"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One link of the chain. Ids and names of actions only."""

    id: int
    clinic_id: str
    session_id: str
    at: datetime
    actor: str
    through: str
    """Id of the platform's key by which it was done, or the door; empty: the actor's own, or none."""
    action: str
    target: str
    detail: str
    previous_sha256: str
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """A line of an export: what is hashed, and the hashes."""
        return {
            "id": self.id,
            "clinic_id": self.clinic_id,
            "session_id": self.session_id,
            "at": self.at.isoformat(timespec="microseconds"),
            "actor": self.actor,
            "through": self.through,
            "action": self.action,
            "target": self.target,
            "detail": self.detail,
            "previous_sha256": self.previous_sha256,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are asked for. What is not given does not matter."""

    clinic_id: str | None = None
    object: str | None = None
    """The id of what it was done to, or of the session that belongs to."""
    actor: str | None = None
    """Who did it, or the id of the key by which it was done."""
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same for the database."""
        a, found = AuditRow, list[ColumnElement[bool]]()
        if self.clinic_id is not None:
            found.append(a.clinic_id == self.clinic_id)
        if self.object is not None:
            found.append(or_(a.target == self.object, a.session_id == self.object))
        if self.actor is not None:
            found.append(or_(a.actor == self.actor, a.through == self.actor))
        if self.action is not None:
            found.append(a.action == self.action)
        if self.since is not None:
            found.append(a.at >= self.since)
        if self.until is not None:
            found.append(a.at < self.until)
        return found


EVERYTHING = AuditFilter()


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ended at some moment."""

    entries: int
    sha256: str


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What checking the chain came to."""

    ok: bool
    entries: int
    """Entries that were checked and hold."""
    head: str
    """Hash of the last entry that holds."""
    broken_at: int | None = None
    """Id of the first entry that does not follow from the one before it."""
    missing_head: str | None = None
    """A head that was kept elsewhere, and that the chain does not contain: it was cut, or written anew."""

    @property
    def reason(self) -> str:
        """One plain sentence."""
        if self.broken_at is not None:
            return f"Entry {self.broken_at} does not follow from the one before it: something was changed or removed."
        if self.missing_head is not None:
            return "The kept head is not in the chain: its end was cut off, or it was written anew."
        return "Every entry follows from the one before it."


class AuditStore:
    """The chain of this installation, over all its clinics."""

    def __init__(self, db: Database, clock: Clock, signer: ReceiptSigner | None = None) -> None:
        self._db = db
        self._clock = clock
        self._signer = signer

    async def append(
        self, clinic_id: str, actor: str, action: str, target: str, *, session_id: str = "", detail: str = ""
    ) -> AuditEntry:
        """Add a link of its own, for what changes nothing else: a read. With an empty ``actor``, of the request's.

        Raises StorageUnavailable: what cannot be put on record must not be done.
        """
        deed = Deed(clinic_id, action, target, session_id, actor, detail)
        async with self._db.write() as db:
            [row] = await chain.record(db, self._clock.now(), [deed])
            return _entry(row)

    async def entries(self, clinic_id: str, *, after_id: int = 0, limit: int = 100) -> list[AuditEntry]:
        """A clinic's entries, oldest first."""
        return await self._some(AuditFilter(clinic_id=clinic_id), AuditRow.id > after_id, limit, newest_first=False)

    async def page(
        self, wanted: AuditFilter, *, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[AuditEntry], str | None]:
        """Entries, newest first, and the cursor of the next page. Raises ConfigInvalid for a cursor that is none."""
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            raise ConfigInvalid("cursor: not one that was given out here.")
        before = AuditRow.id < int(cursor) if cursor is not None else AuditRow.id > 0
        found = await self._some(wanted, before, limit + 1, newest_first=True)
        return found[:limit], str(found[limit - 1].id) if len(found) > limit else None

    async def every(self, wanted: AuditFilter = EVERYTHING) -> AsyncIterator[AuditEntry]:
        """Every entry, oldest first, however many there are."""
        after = 0
        while found := await self._some(wanted, AuditRow.id > after, _PAGE, newest_first=False):
            for entry in found:
                yield entry
            after = found[-1].id

    async def _some(
        self, wanted: AuditFilter, place: ColumnElement[bool], limit: int, *, newest_first: bool
    ) -> list[AuditEntry]:
        order = AuditRow.id.desc() if newest_first else AuditRow.id
        query = select(AuditRow).where(place, *wanted.conditions()).order_by(order).limit(limit)
        async with self._db.read() as db:
            return [_entry(row) for row in (await db.scalars(query)).all()]

    # -- checking ------------------------------------------------------------------------------------------------------

    async def verify(self, head: str | None = None) -> AuditVerdict:
        """Check every link from the first on, and that a ``head`` that was kept elsewhere is among them."""
        last, count, after, found = FIRST, 0, 0, head in {None, FIRST}
        while True:
            query = select(AuditRow).where(AuditRow.id > after).order_by(AuditRow.id).limit(_PAGE)
            async with self._db.read() as db:
                rows = (await db.scalars(query)).all()
            if not rows:
                verdict = AuditVerdict(True, count, last)
                return verdict if found else replace(verdict, ok=False, missing_head=head)
            for row in rows:
                if row.previous_sha256 != last or row.sha256 != chain.link(last, row):
                    return AuditVerdict(False, count, last, broken_at=row.id)
                last, count, after = row.sha256, count + 1, row.id
                found = found or last == head

    async def head(self) -> Head:
        """Where the chain ends now."""
        async with self._db.read() as db:
            row = (await db.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(1))).one_or_none()
        return Head(row.id, row.sha256) if row is not None else Head(0, FIRST)

    async def contains(self, head: Head) -> bool:
        """True when the chain still has that entry where it was: one look, where :meth:`verify` reads it all."""
        if head.entries == 0:
            return True
        async with self._db.read() as db:
            row = await db.get(AuditRow, head.entries)
        return row is not None and row.sha256 == head.sha256

    def sign(self, head: Head) -> bytes:
        """The head as a document to be kept elsewhere."""
        assert self._signer is not None, "made without a signer"
        told = {"entries": head.entries, "sha256": head.sha256, "at": timestamp(self._clock.now())}
        return self._signer.sign(told, kind=HEAD_TYPE)

    def signed_here(self, document: bytes) -> Head | None:
        """The head that a document states; None when it was not signed with this installation's key."""
        assert self._signer is not None, "made without a signer"
        verdict = verify_receipt(document, self._signer.public_key, kind=HEAD_TYPE)
        return Head(verdict.statement["entries"], verdict.statement["sha256"]) if verdict.valid else None


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        clinic_id=row.clinic_id,
        session_id=row.session_id,
        at=row.at,
        actor=row.actor,
        through=row.through,
        action=row.action,
        target=row.target,
        detail=row.detail,
        previous_sha256=row.previous_sha256,
        sha256=row.sha256,
    )
