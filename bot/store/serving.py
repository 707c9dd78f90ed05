"""Which process serves a session, and which run of its workflow may still change it, where several share a database.

The database says so, because it refuses who was replaced: a process that stood still while another one took its work
may go on for a moment, and what it writes then must count for nothing. Whether a process lives is
:mod:`bot.store.members`'.

A workflow's run is known by a number that only grows: the part of the session, the run about it, and how often that run
was taken up. A change by a run that was taken up again since raises :class:`TakenOver`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import BigInteger, ForeignKey, String, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot.errors import NotFound, QuietnoteError, SessionLocked
from bot.store.models import Base, SessionRow

ELSEWHERE = "Another process of this service serves this session."
LIVE = frozenset({"consent_pending", "capturing", "paused"})


class TakenOver(QuietnoteError):
    """Another process goes on with this work: nothing more of it may be done here."""

    def __init__(self) -> None:
        super().__init__("Another process goes on with this.")


class ServingRow(Base):
    """Who serves a session, and who works at its end."""

    __tablename__ = "serving"
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    process_id: Mapped[str | None] = mapped_column(String(64), index=True)
    """None: nobody at this moment."""
    work: Mapped[int] = mapped_column(BigInteger, default=0)
    """The newest run of its workflow."""


@dataclass(slots=True)
class Run:
    """A run of a session's workflow in this process."""

    session_id: str
    number: int
    lost: bool = False
    """Set when it was found out that another one goes on with it."""


_run: ContextVar[Run | None] = ContextVar("quietnote_run", default=None)


@contextmanager
def working(run: Run | None) -> Iterator[None]:
    """What is changed in the block is changed by this run."""
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


def run_number(part: int, run: int, taken_up: int) -> int:
    """The number of a run, larger than that of every earlier one of the session."""
    return (part * 10_000 + min(run, 9_999)) * 10_000 + min(taken_up, 9_999)


async def check(db: AsyncSession, row: SessionRow, process: str | None) -> None:
    """Raise unless this process, and this run, may change a session whose row is held.

    SessionLocked while another process records it; TakenOver for a run that another one goes on with.
    """
    run = _run.get()
    if process is None and run is None:
        return
    serving = await db.get(ServingRow, row.id)
    if serving is None:
        return
    if run is not None and run.session_id == row.id and serving.work > run.number:
        run.lost = True
        raise TakenOver
    if process is not None and row.capture in LIVE and serving.process_id not in {None, process}:
        raise SessionLocked(ELSEWHERE)


async def take(db: AsyncSession, session_id: str, process: str, dead: Collection[str]) -> str | None:
    """Let ``process`` serve a session, in a transaction under way; whom it keeps serving instead, None when it does.

    From one of the ``dead`` it is taken over, and what that one may still write of its words is shut out.
    """
    row = await _session(db, session_id)
    serving = await _serving(db, session_id)
    if serving.process_id == process:
        return None
    if serving.process_id is not None:
        if serving.process_id not in dead:
            return serving.process_id
        row.epoch += 1
    serving.process_id = process
    return None


async def give_back(db: AsyncSession, process: str, session_ids: Collection[str] | None = None) -> None:
    """Serve these sessions no more, or none at all."""
    query = update(ServingRow).where(ServingRow.process_id == process).values(process_id=None)
    await db.execute(query if session_ids is None else query.where(ServingRow.session_id.in_(session_ids)))


async def served(db: AsyncSession) -> dict[str, str]:
    """By session, the process that serves it."""
    query = select(ServingRow.session_id, ServingRow.process_id).where(ServingRow.process_id.is_not(None))
    return {row.session_id: row.process_id for row in (await db.execute(query)).all()}


async def take_work(db: AsyncSession, run: Run) -> None:
    """Let this run be the one that works, in a transaction under way. Raises TakenOver when a later one does."""
    await _session(db, run.session_id)
    serving = await _serving(db, run.session_id)
    if serving.work > run.number:
        run.lost = True
        raise TakenOver
    serving.work = run.number


async def _session(db: AsyncSession, session_id: str) -> SessionRow:
    row = await db.get(SessionRow, session_id, with_for_update=True)
    if row is None:
        raise NotFound
    return row


async def _serving(db: AsyncSession, session_id: str) -> ServingRow:
    row = await db.get(ServingRow, session_id)
    if row is None:
        row = ServingRow(session_id=session_id, process_id=None, work=0)
        db.add(row)
        await db.flush()
    return row
