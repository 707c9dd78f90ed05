"""How the end of a session comes along: told to its pages, kept for those that are opened later, and watched.

A step that makes no progress for a while is stopped here, and a note of which nothing is heard from any process has
failed: it may be asked for again. Nothing that was stopped is kept, though it should come to its end all the same:
:mod:`bot.store.making` numbers the attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from bot.clinics import ClinicConfig
from bot.notes.failures import REASONS, NoteNotPossible
from bot.store.making import ASKED_FOR, DRAFT, NO_PROGRESS, TRANSCRIPT
from bot.store.sessions import SessionRecord, SessionStore

log = structlog.get_logger()

T = TypeVar("T")
Tell = Callable[[str, str, int, int], Awaitable[None]]
"""Told (session id, step, done, total)."""

Own = Callable[[Coroutine[Any, Any, None]], None]

STEPS = (TRANSCRIPT, "erase", DRAFT, "done")
"""As they are kept; what a writer calls its own counts are of ``draft``."""
STALLED_S = 300.0
KEEP_EVERY_S = 1.0
"""A count that goes on within a step is kept at most so often."""


def no_progress() -> NoteNotPossible:
    """What work raises that stood still: the same step is not tried again at once, it would only stand still again."""
    return NoteNotPossible(REASONS[NO_PROGRESS], cause=NO_PROGRESS)


class Making:
    """The progress of what this process makes. On the event loop."""

    def __init__(self, store: SessionStore, tell: Tell | None, own: Own, stalled_s: float = STALLED_S) -> None:
        """``own`` runs something beside a step, and ends it with the process."""
        self._store = store
        self._stalled_s = stalled_s
        self.begin()
        self._tell = tell
        self._own = own
        self._kept: dict[str, tuple[str, float]] = {}
        self._watched: dict[str, tuple[asyncio.Timeout, float]] = {}

    def begin(self) -> None:
        """The process starts: what nothing was heard of while it was down has its time anew."""
        self._since = self._store.settled_now()

    async def came_to(self, session_id: str, step: str, done: int, total: int = 1) -> None:
        """A step has come so far. A page or a database that cannot be told stops nothing."""
        if session_id in self._watched:
            deadline, limit_s = self._watched[session_id]
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time() + limit_s)
        try:
            await self._keep(session_id, step if step in STEPS else DRAFT, done, total)
            if self._tell is not None:
                await self._tell(session_id, step, done, total)
        except Exception as error:  # noqa: BLE001  the next step tells more
            log.warning("progress_not_told", session_id=session_id, error=type(error).__name__)

    def counter(self, session_id: str) -> Callable[[str, int, int], None]:
        """The same for work that may run in a thread of its own."""
        loop = asyncio.get_running_loop()

        def count(step: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(lambda: self._own(self.came_to(session_id, step, done, total)))

        return count

    async def unless_stalled(self, session_id: str, work: Awaitable[T], writing: SessionRecord | None = None) -> T:
        """Do ``work``, which may be ``writing`` a session's note. Once it made no progress for too long it is stopped,
        and :func:`no_progress` raised.
        """
        limit_s = self._stalled_s if writing is None else self._limit_s(writing)
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                self._watched[session_id] = deadline, limit_s
                return await work
        except TimeoutError:
            if not deadline.expired():
                raise
            log.warning("stalled", session_id=session_id)
            raise no_progress() from None
        finally:
            if self._watched.get(session_id, (None, 0.0))[0] is deadline:
                del self._watched[session_id]

    async def give_up_stalled(self) -> list[str]:
        """What nothing has been heard of for too long has failed; the sessions whose notes that are."""
        store, given_up = self._store, []
        now = store.settled_now()
        for record, heard in await store.stalled(now - timedelta(seconds=self._stalled_s)):
            if max(heard, self._since) > now - timedelta(seconds=self._limit_s(record)):
                continue
            log.warning("stalled", session_id=record.id, step=record.note.value)
            if record.note.value not in ASKED_FOR:
                await store.delay_words(record.id, heard)
            elif await store.give_up_note(record.id, heard):
                given_up.append(record.id)
        return given_up

    def _limit_s(self, record: SessionRecord) -> float:
        """How long nothing need be heard: for one answer of a writer's endpoint, as long as the clinic lets it take."""
        choice = ClinicConfig.model_validate(record.snapshot).note
        return self._stalled_s + (choice.timeout_s if choice.writer != "offline" else 0.0)

    async def _keep(self, session_id: str, step: str, done: int, total: int) -> None:
        now = asyncio.get_running_loop().time()
        last, at = self._kept.get(session_id, ("", 0.0))
        if step == last and done < total and now - at < KEEP_EVERY_S:
            return
        self._kept[session_id] = step, now
        if step == "done":
            del self._kept[session_id]
        await self._store.made_progress(session_id, step, done, total)
