"""The live sessions of this process: opened on demand, recovered at start, closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from bot.control.live import LiveServices, LiveSession
from bot.control.lobby import Lobby, Seat
from bot.errors import QuietnoteError
from bot.events import CaptureState, ConsentState, Role, SessionEvent
from bot.media.room import Member

log = structlog.get_logger()

LAST_WORDS_S = 2.0
"""How long an end of the process waits for the words of what is being said."""
CLOSE_S = 2.0
"""How long it then waits for books, connections and tasks."""


class LiveSessions:
    """The live sessions of this process."""

    def __init__(self, services: LiveServices) -> None:
        self._services = services
        self._sessions: dict[str, LiveSession] = {}
        self._opening = asyncio.Lock()

    async def of(self, session_id: str) -> LiveSession:
        """The live session, opened from the database if need be. Raises :class:`NotFound`."""
        async with self._opening:
            live = self._sessions.get(session_id)
            if live is None:
                store = self._services.media.store
                record = await store.get(session_id)
                granted = [one for one in await store.consents(session_id) if one.decision is ConsentState.GRANTED]
                vouched = {one.participant_id: one.attestation for one in granted}  # the last one of each
                seats = [
                    Seat(
                        Member(p.id, p.role, p.display_name),
                        p.admitted or p.role is Role.CLINICIAN,  # who needs no admission, after a restart too
                        p.consent,
                        language=p.language,
                        attestation=vouched.get(p.id) if p.consent is ConsentState.GRANTED else None,
                    )
                    for p in await store.participants(session_id)
                ]
                live = LiveSession(self._services, record, Lobby(seats))
                await live.remember()
                self._sessions[session_id] = live
            return live

    def current(self, session_id: str) -> LiveSession | None:
        """The live session if this process has it open."""
        return self._sessions.get(session_id)

    def warnings(self, session_id: str) -> Sequence[Mapping[str, Any]]:
        """What the pages of a session are warned of, stored or not; nothing when it is not open here."""
        live = self._sessions.get(session_id)
        return live.standing_warnings() if live is not None else ()

    async def on_event(self, event: SessionEvent) -> None:
        """The workflow moved something: let an open session tell its pages. It knows of its own moves already."""
        live = self._sessions.get(event.session_id)
        if live is not None and event.seq > live.record.seq:
            await live.refresh()

    async def progress(self, session_id: str, step: str, done: int, total: int) -> None:
        """How far the note is, for the pages."""
        live = self._sessions.get(session_id)
        if live is not None:
            await live.broadcast({"type": "progress", "step": step, "done": done, "total": total})

    async def let_go(self, session_id: str) -> int:
        """Drop whatever sound of a session is still in memory; how many lanes that were."""
        live = self._sessions.get(session_id)
        return await live.let_go() if live is not None else 0

    async def recover(self) -> None:
        """After a restart: what was being captured is taken up again, what was finished goes on."""
        for record in await self._services.media.store.unfinished():
            try:
                await self._recover(record.id, record.capture)
            except QuietnoteError as error:
                log.error("session_not_recovered", session_id=record.id, error=type(error).__name__)

    async def _recover(self, session_id: str, capture: CaptureState) -> None:
        match capture:
            case CaptureState.OFF:
                await (await self.of(session_id)).abandon()
            case CaptureState.CONSENT_PENDING | CaptureState.CAPTURING | CaptureState.PAUSED:
                live = await self.of(session_id)
                await live.resume_after_crash()
                live.wake()
            case CaptureState.FINISHED | CaptureState.DISCARDED:
                (await self.of(session_id)).take_up_end()

    async def close(self) -> None:
        """End every live session of this process: with its last words, if they come soon.

        Words that do not are recognised at the next start, from what is sealed in the spool.
        """
        sessions, self._sessions = list(self._sessions.values()), {}
        closing = {asyncio.create_task(live.close(), name=f"close:{live.session_id}") for live in sessions}
        if not closing:
            return
        _, late = await asyncio.wait(closing, timeout=LAST_WORDS_S)
        if late:
            self._services.media.scheduler.release()
            _, late = await asyncio.wait(late, timeout=CLOSE_S)
        for task in late:
            task.cancel()
        for fault in await asyncio.gather(*closing, return_exceptions=True):
            if fault is not None:
                log.warning("session_not_closed", error=type(fault).__name__)
