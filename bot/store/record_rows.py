"""The tables of what is done with whole records: legal holds, deletions, receipts that outlive sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from bot.store.models import Base


class HoldRow(Base):
    """A legal hold: on everything of one client, or on one session."""

    __tablename__ = "holds"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(String(64), index=True)
    client_ref: Mapped[str | None] = mapped_column(String(64), index=True)
    session_id: Mapped[str | None] = mapped_column(String(40), index=True)
    """One of the two is set."""
    matter: Mapped[str] = mapped_column(String(128))
    """What it is for: the id of a case, never words."""
    placed_by: Mapped[str] = mapped_column(String(128))
    placed_at: Mapped[datetime]
    lifted_by: Mapped[str | None] = mapped_column(String(128))
    lifted_at: Mapped[datetime | None]


class DeletionRow(Base):
    """A deletion that was asked for or fell due: it is carried through, whatever is killed meanwhile."""

    __tablename__ = "deletions"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """``client``, ``clinic``, ``session``, or ``draft``."""
    subject: Mapped[str] = mapped_column(String(64))
    """The client's reference, or the id of the clinic or session."""
    reason: Mapped[str] = mapped_column(String(16))
    """``asked`` or ``retention``."""
    by: Mapped[str] = mapped_column(String(128))
    begun_at: Mapped[datetime]
    keys_gone_at: Mapped[datetime | None]
    counts: Mapped[dict[str, Any]]
    """What is gone so far, and the hash tree of the sessions' ids."""
    done_at: Mapped[datetime | None] = mapped_column(index=True)
    receipt_id: Mapped[str | None] = mapped_column(String(40))


class ClinicReceiptRow(Base):
    """A signed receipt that belongs to a clinic: its session is gone, or it never was about one alone."""

    __tablename__ = "clinic_receipts"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    clinic_id: Mapped[str] = mapped_column(String(64), index=True)
    session_id: Mapped[str] = mapped_column(String(40), index=True)
    """The session it was issued for; empty: none."""
    kind: Mapped[str] = mapped_column(String(16))
    body: Mapped[bytes]
    created_at: Mapped[datetime]
