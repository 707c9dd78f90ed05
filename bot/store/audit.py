"""The audit chain: who did what to which object. Each entry holds the hash of the one before it.

Changing, removing or inserting an entry breaks every hash after it. Cutting off the end does not show by itself: keep
:attr:`AuditVerdict.head` elsewhere to see that too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bot.clock import Clock
from bot.errors import StorageUnavailable
from bot.store.db import Database
from bot.store.models import AuditRow
from bot.store.receipts import canonical

FIRST = "0" * 64
"""What the first entry follows."""
_TRIES = 5
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One link of the chain. Ids and names of actions only."""

    id: int
    clinic_id: str
    at: datetime
    actor: str
    action: str
    target: str
    previous_sha256: str
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


class AuditStore:
    """The chain of this installation, over all its clinics."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def append(self, clinic_id: str, actor: str, action: str, target: str) -> AuditEntry:
        """Add a link. Ids only: no name of a person and no word of a session may be in it."""
        for _ in range(_TRIES):
            try:
                async with self._db.write() as db:
                    last = (await db.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(1))).one_or_none()
                    previous, at = last.sha256 if last is not None else FIRST, self._clock.now()
                    row = AuditRow(
                        clinic_id=clinic_id,
                        at=at,
                        actor=actor,
                        action=action,
                        target=target,
                        previous_sha256=previous,
                        sha256=_link(previous, clinic_id, at, actor, action, target),
                    )
                    db.add(row)
                    await db.flush()
                    return _entry(row)
            except IntegrityError:  # another process continued the same link: follow its entry
                continue
        raise StorageUnavailable("database", "locked")

    async def entries(self, clinic_id: str, *, after_id: int = 0, limit: int = 100) -> list[AuditEntry]:
        """A clinic's entries, oldest first."""
        query = select(AuditRow).where(AuditRow.clinic_id == clinic_id, AuditRow.id > after_id).order_by(AuditRow.id)
        async with self._db.read() as db:
            return [_entry(row) for row in (await db.scalars(query.limit(limit))).all()]

    async def verify(self) -> AuditVerdict:
        """Check every link from the first on."""
        head, count, after = FIRST, 0, 0
        while True:
            query = select(AuditRow).where(AuditRow.id > after).order_by(AuditRow.id).limit(_PAGE)
            async with self._db.read() as db:
                rows = (await db.scalars(query)).all()
            if not rows:
                return AuditVerdict(True, count, head)
            for row in rows:
                expected = _link(head, row.clinic_id, row.at, row.actor, row.action, row.target)
                if row.previous_sha256 != head or row.sha256 != expected:
                    return AuditVerdict(False, count, head, broken_at=row.id)
                head, count, after = row.sha256, count + 1, row.id


def _link(previous: str, clinic_id: str, at: datetime, actor: str, action: str, target: str) -> str:
    entry = {
        "previous": previous,
        "clinic_id": clinic_id,
        "at": at.isoformat(timespec="microseconds"),
        "actor": actor,
        "action": action,
        "target": target,
    }
    return hashlib.sha256(canonical(entry)).hexdigest()


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(row.id, row.clinic_id, row.at, row.actor, row.action, row.target, row.previous_sha256, row.sha256)
