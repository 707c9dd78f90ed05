"""The live sessions of this process: opened on demand, recovered at start, closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from bot.control.live import LiveServices, LiveSession
from bot.control.lobby import Lobby, Seat
from bot.control.stage import BOT_PRESENT
from bot.control.telling import publish
from bot.errors import QuietnoteError, SessionLocked, WorkerUnreachable
from bot.events import CaptureState, ConsentState, Role, SessionEvent
from bot.media.room import Member
from bot.store.serving import ELSEWHERE
from bot.store.sessions import SessionRecord

log = structlog.get_logger()

LAST_WORDS_S = 2.0
"""How long an end of the process waits for the words of what is being said."""
CLOSE_S = 2.0
RUNNING = frozenset({CaptureState.CONSENT_PENDING, CaptureState.CAPTURING, CaptureState.PAUSED})
ENDED = frozenset({CaptureState.FINISHED, CaptureState.DISCARDED})
"""How long it then waits for books, connections and tasks."""


class LiveSessions:
    """The live sessions of this process."""

    def __init__(self, services: LiveServices) -> None:
        self._services = services
        self._sessions: dict[str, LiveSession] = {}
        self._opening = asyncio.Lock()
        self._idle: set[str] = set()
        """Sessions that were idle at the last look."""

    async def of(self, session_id: str) -> LiveSession:
        """The live session, opened from the database if need be. Raises :class:`NotFound`.

        Of several processes one serves a session. Raises SessionLocked at any other while that one lives, and
        WorkerUnreachable until it is certain that it does not; then the session goes on here.
        """
        async with self._opening:
            live = self._sessions.get(session_id)
            if live is None:
                await self._take(session_id)
                live = await self._open(session_id)
                if self._services.members is not None:
                    await self._go_on_with(live)
            return live

    async def _take(self, session_id: str) -> None:
        members = self._services.members
        if members is None:
            return
        server = await self._services.media.store.take_session(session_id, members.dead)
        if server is not None:
            if await members.answers(server):
                raise SessionLocked(ELSEWHERE)
            raise WorkerUnreachable

    async def _open(self, session_id: str) -> LiveSession:
        store = self._services.media.store
        record = await store.get(session_id)
        granted = [one for one in await store.consents(session_id) if one.decision is ConsentState.GRANTED]
        vouched = {one.participant_id: one.attestation for one in granted}  # the last one of each
        people = await store.participants(session_id)
        seats = {
            p.id: Seat(
                Member(p.id, p.role, p.display_name),
                p.admitted or p.role is Role.CLINICIAN,  # who needs no admission, after a restart too
                p.consent,
                language=p.language,
                attestation=vouched.get(p.id) if p.consent is ConsentState.GRANTED else None,
            )
            for p in people
        }
        for p in people:
            seats[p.id].host = seats[p.shares_with] if p.shares_with is not None else None
        live = LiveSession(self._services, record, Lobby(list(seats.values())))
        await live.remember()
        self._sessions[session_id] = live
        return live

    async def _go_on_with(self, live: LiveSession) -> None:
        """What another process left of a session is taken up where that one stopped, as after a restart."""
        try:
            if live.record.bot in BOT_PRESENT or live.record.capture in RUNNING:
                await self._take_up(live)
        except BaseException:
            del self._sessions[live.session_id]
            raise

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
        message = {"type": "progress", "step": step, "done": done, "total": total}
        live = self._sessions.get(session_id)
        if live is not None:
            await live.broadcast(message)
        else:  # whoever follows it from outside the call is told all the same
            media = self._services.media
            await publish(session_id, message, self._services.bus, media.vault)

    async def let_go(self, session_id: str) -> int:
        """Drop whatever sound of a session is still in memory; how many lanes that were."""
        live = self._sessions.get(session_id)
        return await live.let_go() if live is not None else 0

    async def recover(self) -> None:
        """After a restart: what was being captured is taken up again, what was finished goes on.

        What other processes serve is left to them.
        """
        for record in await self._services.media.store.unfinished():
            await self.take_up(record)

    async def take_up(self, record: SessionRecord) -> None:
        """Go on with a session that nobody deals with; one that another process serves is left alone."""
        try:
            known = record.id in self._sessions
            live = await self.of(record.id)
            alone = self._services.members is None
            if alone or (not known and record.capture in ENDED and live.record.bot not in BOT_PRESENT):
                await self._take_up(live)
        except (SessionLocked, WorkerUnreachable):
            pass
        except QuietnoteError as error:
            log.error("session_not_recovered", session_id=record.id, error=type(error).__name__)

    async def _take_up(self, live: LiveSession) -> None:
        match live.record.capture:
            case CaptureState.OFF:
                await live.abandon()
            case CaptureState.CONSENT_PENDING | CaptureState.CAPTURING | CaptureState.PAUSED:
                await live.resume_after_crash()
                live.wake()
            case CaptureState.FINISHED | CaptureState.DISCARDED:
                live.take_up_end()

    # -- several processes ---------------------------------------------------------------------------------------------

    def open_here(self) -> frozenset[str]:
        """The sessions that this process has open."""
        return frozenset(self._sessions)

    async def drop(self, session_id: str) -> None:
        """Another process serves it now: let go of it here. Its pages are told to come again, and find that one."""
        live = self._sessions.pop(session_id, None)
        if live is None:
            return
        log.warning("session_taken_over", session_id=session_id)
        await live.send_away()

    async def put_away_idle(self) -> list[str]:
        """Close sessions in which nobody is and nothing goes on, since the last look already; which those are."""
        idle = {session_id for session_id, live in self._sessions.items() if live.is_idle}
        put_away = []
        for session_id in idle & self._idle:
            async with self._opening:
                live = self._sessions.get(session_id)
                if live is None or not live.is_idle:
                    continue
                del self._sessions[session_id]
            await live.close()
            put_away.append(session_id)
        self._idle = idle.difference(put_away)
        return put_away

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
