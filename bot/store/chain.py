"""The audit chain: its table, what a link is, and the one way to add one.

Each entry holds the hash of the one before it and its own number, so that changing, removing, inserting or reordering
entries breaks every hash after them. It is added at the end of the transaction that makes the change it tells of: both
are there, or neither. Entries hold ids and names of actions: a value that does not look like an id is replaced by its
hash, so that no careless caller can put a word of a session into a log that is kept for good.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot.events import SessionEvent
from bot.store.acting import acting
from bot.store.models import Base
from bot.store.postgres import take_turn
from bot.store.receipts import canonical

FIRST = "0" * 64
"""What the first entry follows."""
SYSTEM, OPERATOR = "system", "operator"
"""Nobody asked for it at this moment; or it was asked for on the command line."""
PLATFORM = "platform"
"""What an event calls a platform that names no clinician: the audit has the key's id instead."""
_ID = re.compile(r"[A-Za-z0-9_.:/@+#,-]{0,128}")
"""Ids and names of actions. No spaces: no sentence fits."""

QUIET = frozenset(
    {
        "call.clock_started",
        "capture.absent",
        "capture.consent_pending",
        "capture.off",
        "capture.returned",
        "consent.requested",
        "inbox.item_created",
        "note.generating",
        "session.alert",
        "session.alert_over",
        "session.warned",
        "transcript.absent",
        "transcript.set_aside",
    }
)
"""Events that are steps on the way, and nobody's doing: those of the bot (``bot.*``) are too."""


class AuditRow(Base):
    """One link of the audit chain: who did what to which object, and when."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Counts from 1 without a gap."""
    clinic_id: Mapped[str] = mapped_column(String(64), index=True)
    """Empty where it is no clinic's, as of a sign-in under an unknown address."""
    session_id: Mapped[str] = mapped_column(String(40), index=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(128))
    through: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(128))
    detail: Mapped[str] = mapped_column(String(128))
    previous_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    """Unique, so that two writers cannot both continue the same link."""
    sha256: Mapped[str] = mapped_column(String(64))


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done, before it has its place in the chain."""

    clinic_id: str
    action: str
    target: str
    """Id of what it was done to."""
    session_id: str = ""
    """The session it belongs to; empty: none."""
    actor: str = ""
    """Who did it; empty: whoever makes the request, else the system."""
    detail: str = ""
    """One id-like word: a reason, a version, a decision's method."""


def of_event(event: SessionEvent, clinic_id: str) -> Deed | None:
    """What a session's event means for the audit; None for a step on the way."""
    if event.kind in QUIET or event.kind.startswith("bot."):
        return None
    data = event.data
    names = ("note_id", "receipt_id", "input_id", "participant_id")
    target = next((str(data[name]) for name in names if data.get(name)), event.session_id)
    detail = next((str(data[name]) for name in ("reason", "method", "kind", "version") if data.get(name)), "")
    by = str(data.get("by") or "")
    return Deed(clinic_id, event.kind, target, event.session_id, "" if by == PLATFORM else by, detail)


async def record(db: AsyncSession, now: datetime, deeds: Sequence[Deed]) -> list[AuditRow]:
    """Add links in a transaction under way: the last thing it does, because others wait for it from here on."""
    if not deeds:
        return []
    await db.flush()  # whatever else it locks is locked by now, so that no two transactions wait for each other
    if db.get_bind().dialect.name != "sqlite":  # there one transaction writes at a time as it is
        await take_turn(db, "audit")
    last = (await db.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(1))).one_or_none()
    number, previous = (last.id, last.sha256) if last is not None else (0, FIRST)
    rows = []
    for deed in deeds:
        number += 1
        row = _row(number, previous, now, deed)
        db.add(row)
        rows.append(row)
        previous = row.sha256
    await db.flush()
    return rows


def _row(number: int, previous: str, now: datetime, deed: Deed) -> AuditRow:
    who = acting()
    actor = deed.actor or (who.actor if who is not None else SYSTEM)
    through = who.through if who is not None and who.through != actor else ""
    row = AuditRow(
        id=number,
        clinic_id=id_like(deed.clinic_id),
        session_id=id_like(deed.session_id),
        at=now,
        actor=id_like(actor),
        through=id_like(through),
        action=id_like(deed.action),
        target=id_like(deed.target),
        detail=id_like(deed.detail),
        previous_sha256=previous,
    )
    row.sha256 = link(previous, row)
    return row


def id_like(value: str) -> str:
    """``value``, or its hash where it could hold more than an id."""
    if _ID.fullmatch(value):
        return value
    return f"withheld:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def link(previous: str, row: AuditRow) -> str:
    """The hash an entry must have behind ``previous``."""
    return hashlib.sha256(canonical({"previous": previous, **told(row)})).hexdigest()


def told(row: AuditRow) -> Mapping[str, Any]:
    """What an entry says, as it is hashed and exported."""
    return {
        "id": row.id,
        "clinic_id": row.clinic_id,
        "session_id": row.session_id,
        "at": row.at.isoformat(timespec="microseconds"),
        "actor": row.actor,
        "through": row.through,
        "action": row.action,
        "target": row.target,
        "detail": row.detail,
    }
