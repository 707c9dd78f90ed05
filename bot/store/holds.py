"""Legal holds, and whose record a session is.

One client is everybody in a clinic's sessions whose role is client and who has the same reference: the platform's
``client_ref``, or without one their id. While a hold stands, neither retention nor a deletion takes a note, or anything
that outlives a transcript, of what it is on. It prolongs neither sound nor transcript: adr/0019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.clock import Clock
from bot.errors import ConfigInvalid, NotFound, SessionLocked
from bot.events import Role
from bot.store import chain
from bot.store.acting import acting
from bot.store.chain import SYSTEM, Deed
from bot.store.clinic_receipts import RECORD_TYPE, ClinicReceipt, keep_receipt
from bot.store.db import Database
from bot.store.models import ClinicRow, NoteRow, ParticipantRow, SessionRow
from bot.store.postgres import take_turn
from bot.store.receipts import ReceiptSigner, timestamp
from bot.store.record_rows import DeletionRow, HoldRow
from bot.store.records import new_id


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold."""

    id: str
    clinic_id: str
    client_ref: str | None
    session_id: str | None
    matter: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClientSummary:
    """What there is of one client."""

    client_ref: str
    sessions: int
    shared: int
    """Of these, those in which another client took part too."""
    notes: int
    under_way: int
    """Of these, those that are not settled: recorded, written down, or with a note on its way."""
    held: int
    """Of these, those that a legal hold stands on."""
    first_at: datetime
    last_at: datetime


def of_client(client_ref: str) -> ColumnElement[bool]:
    """The condition of a session: this client took part in it."""
    p = aliased(ParticipantRow)
    return exists().where(p.session_id == SessionRow.id, p.role == Role.CLIENT.value, p.client_ref == client_ref)


def shared_with_others(client_ref: str) -> ColumnElement[bool]:
    """The condition of a session: another client took part in it."""
    p = aliased(ParticipantRow)
    return exists().where(p.session_id == SessionRow.id, p.role == Role.CLIENT.value, p.client_ref != client_ref)


def is_held() -> ColumnElement[bool]:
    """The condition of a session: a hold stands on it, or on a client of it."""
    h, p = HoldRow, aliased(ParticipantRow)
    clients = exists().where(p.session_id == SessionRow.id, p.role == Role.CLIENT.value, p.client_ref == h.client_ref)
    on_client = clients.correlate(SessionRow, h)
    return (
        exists()
        .where(h.clinic_id == SessionRow.clinic_id, h.lifted_at.is_(None))
        .where(or_(h.session_id == SessionRow.id, on_client))
        .correlate(SessionRow)
    )


def is_under_way() -> ColumnElement[bool]:
    """The condition of a session: something of it is still being made."""
    s = SessionRow
    return or_(
        s.capture.in_(["consent_pending", "capturing", "paused"]),
        s.bot.not_in(["absent", "done", "failed"]),
        s.audio == "held",
        s.transcript == "live",
        s.note.in_(["queued", "generating"]),
    )


async def records_turn(db: AsyncSession, clinic_id: str) -> None:
    """In a transaction: place or lift holds, or begin deletions, of a clinic, one at a time."""
    if db.get_bind().dialect.name != "sqlite":  # there one transaction writes at a time as it is
        await take_turn(db, f"records:{clinic_id}")


def who_asks(by: str) -> str:
    """``by``, or whoever makes the request that is being served."""
    now = acting()
    return by or (now.actor if now is not None else SYSTEM)


class HoldStore:
    """Legal holds of this installation."""

    def __init__(self, db: Database, clock: Clock, signer: ReceiptSigner) -> None:
        self._db = db
        self._clock = clock
        self._signer = signer

    async def client(self, clinic_id: str, client_ref: str) -> ClientSummary:
        """What there is of a client. Raises NotFound."""
        s = SessionRow
        mine = and_(s.clinic_id == clinic_id, of_client(client_ref))

        async def count(db: AsyncSession, *conditions: Any) -> int:
            return await db.scalar(select(func.count()).select_from(s).where(mine, *conditions)) or 0

        async with self._db.read() as db:
            sessions = await count(db)
            if not sessions:
                raise NotFound("There is no such client.")
            ends = select(func.min(s.created_at), func.max(s.created_at)).where(mine)
            first_at, last_at = (await db.execute(ends)).one()
            return ClientSummary(
                client_ref=client_ref,
                sessions=sessions,
                shared=await count(db, shared_with_others(client_ref)),
                notes=await count(db, exists().where(NoteRow.session_id == s.id)),
                under_way=await count(db, is_under_way()),
                held=await count(db, is_held()),
                first_at=first_at,
                last_at=last_at,
            )

    async def sessions(self, clinic_id: str, client_ref: str, *, with_shared: bool = False) -> list[str]:
        """Ids of a client's sessions, oldest first; those with another client only ``with_shared``. Raises NotFound."""
        await self.client(clinic_id, client_ref)
        s = SessionRow
        query = select(s.id).where(s.clinic_id == clinic_id, of_client(client_ref)).order_by(s.created_at, s.id)
        if not with_shared:
            query = query.where(~shared_with_others(client_ref))
        async with self._db.read() as db:
            return list((await db.scalars(query)).all())

    async def place(
        self,
        clinic_id: str,
        *,
        client_ref: str | None = None,
        session_id: str | None = None,
        matter: str,
        by: str = "",
    ) -> tuple[Hold, ClinicReceipt]:
        """Hold everything of one client, or one session; ``by`` is who does, without one whoever asks.

        Raises ConfigInvalid unless exactly one of the two is named and ``matter`` is an id, NotFound, SessionLocked
        where it is being deleted at this moment. The same hold again is another one: each is lifted by itself.
        """
        if (client_ref is None) == (session_id is None):
            raise ConfigInvalid("client_ref, session_id: a hold is on one of them.")
        if not matter or chain.id_like(matter) != matter:
            raise ConfigInvalid("matter: the id of a case, without spaces; never what it is about.")
        async with self._db.write() as db:
            await records_turn(db, clinic_id)
            await self._check(db, clinic_id, client_ref, session_id)
            row = HoldRow(
                id=new_id("hld"),
                clinic_id=clinic_id,
                client_ref=client_ref,
                session_id=session_id,
                matter=matter,
                placed_by=who_asks(by),
                placed_at=self._clock.now(),
            )
            row.lifted_by = row.lifted_at = None
            db.add(row)
            return await self._told(db, row, "hold", "hold.placed", by, row.placed_at)

    async def lift(
        self, hold_id: str, *, clinic_id: str | None = None, by: str = ""
    ) -> tuple[Hold, ClinicReceipt | None]:
        """End a hold, with the receipt of it; again is no change and gives none. Raises NotFound."""
        async with self._db.write() as db:
            row = await db.get(HoldRow, hold_id, with_for_update=True)
            if row is None or clinic_id not in {None, row.clinic_id}:
                raise NotFound("There is no such hold.")
            if row.lifted_at is not None:
                return _hold(row), None
            row.lifted_by, row.lifted_at = who_asks(by), self._clock.now()
            return await self._told(db, row, "hold_lifted", "hold.lifted", by, row.lifted_at)

    async def list(self, clinic_id: str | None = None, *, standing: bool = False) -> Sequence[Hold]:
        """Holds of one clinic or of all, newest first; only those that stand, if so asked."""
        query = select(HoldRow).order_by(HoldRow.placed_at.desc(), HoldRow.id)
        if clinic_id is not None:
            query = query.where(HoldRow.clinic_id == clinic_id)
        if standing:
            query = query.where(HoldRow.lifted_at.is_(None))
        async with self._db.read() as db:
            return [_hold(row) for row in (await db.scalars(query)).all()]

    async def _told(
        self, db: AsyncSession, row: HoldRow, kind: str, action: str, by: str, now: datetime
    ) -> tuple[Hold, ClinicReceipt]:
        statement = {
            "kind": kind,
            "hold_id": row.id,
            "clinic_id": row.clinic_id,
            "client_ref": row.client_ref,
            "session_id": row.session_id,
            "matter": row.matter,
            "at": timestamp(now),
        }
        receipt = keep_receipt(db, row.clinic_id, kind, self._signer.sign(statement, kind=RECORD_TYPE), now)
        target = row.session_id or row.client_ref or ""
        deed = Deed(row.clinic_id, action, target, row.session_id or "", by, detail=row.id)
        await chain.record(db, now, [deed])
        return _hold(row), receipt

    async def _check(
        self, db: AsyncSession, clinic_id: str, client_ref: str | None, session_id: str | None
    ) -> None:
        s = SessionRow
        mine = s.id == session_id if client_ref is None else of_client(client_ref)
        rows = (await db.execute(select(s.id, s.deletion_id).where(s.clinic_id == clinic_id, mine))).all()
        if await db.get(ClinicRow, clinic_id) is None or not rows:
            raise NotFound("There is no such client." if client_ref is not None else "There is no such session.")
        d = DeletionRow
        going = select(d.id).where(d.clinic_id == clinic_id, d.done_at.is_(None), d.kind == "clinic")
        if any(row.deletion_id is not None for row in rows) or (await db.scalar(going)) is not None:
            raise SessionLocked("This is being deleted at this moment.")


def _hold(row: HoldRow) -> Hold:
    return Hold(
        id=row.id,
        clinic_id=row.clinic_id,
        client_ref=row.client_ref,
        session_id=row.session_id,
        matter=row.matter,
        placed_by=row.placed_by,
        placed_at=row.placed_at,
        lifted_by=row.lifted_by,
        lifted_at=row.lifted_at,
    )
