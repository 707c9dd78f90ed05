"""How a recording ends: by Finish, by Discard, by itself; and how one that the process left is taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from bot.clock import CallClock
from bot.control.capture import Actor, CaptureView
from bot.control.keeping import warning_of
from bot.control.moves import Moves
from bot.control.pauses import Pause, pauses
from bot.control.stage import BOT_PRESENT
from bot.errors import Overloaded, QuietnoteError
from bot.events import (
    SAMPLES_PER_MS,
    BotState,
    CaptureState,
    EndReason,
    Gap,
    GapReason,
    SessionEvent,
    ms_of,
)
from bot.store.parts import STARTED

log = structlog.get_logger()

TRY_AGAIN_S = 1.0
"""Pause before a step of the end that the database did not take is taken again."""


class Endings(Moves):
    """A session whose recording can end, whatever ended it."""

    _ending = 0
    """Ends that are being dealt with."""
    _asked_at = 0
    """From when on the last change of capture holds that an earlier process recorded."""

    async def end(self, actor: Actor, reason: EndReason, *, still: Callable[[], bool] = lambda: True) -> None:
        """The call ended without Finish: what was captured is finished all the same; where nothing was, it is off.

        ``still`` is asked when its turn has come: whoever was missed may be back.
        """
        async with self._lock:
            if not still():
                return
            if self.view.state is CaptureState.CONSENT_PENDING:
                await self._call_off(self._now_sample(), actor, reason)
            elif self.view.state in {CaptureState.CAPTURING, CaptureState.PAUSED}:
                at = self._now_sample()
                await self._move(CaptureView(CaptureState.FINISHED), at, actor)
                self._end(self._wind_up(at, reason), "wind_up")
        await self._tell_state()

    async def _call_off(self, at: int, actor: Actor | None, reason: EndReason) -> None:
        """Who must agree did not: recording is off, or over again where a part of the session was recorded before."""
        if self.record.part == 1:
            await self._move(CaptureView(CaptureState.OFF), at, actor)
            await self._send_bot_home(reason)
        else:
            await self._move(CaptureView(CaptureState.FINISHED), at, actor)
            self._end(self._wind_up(at, reason), "wind_up")

    def _end(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Have an end dealt with beside everything else; until that is done nothing is recorded on."""

        async def run() -> None:
            try:
                await work
            finally:
                self._ending -= 1

        self._ending += 1
        self._spawn(run(), name)

    async def end_unrecorded(self) -> None:
        """A session that was never recorded ends: no more recording can begin in it."""
        async with self._lock:
            if self.view.state is CaptureState.OFF:
                await self._send_bot_home(EndReason.PLATFORM_ERROR)  # one that a fault left half begun
                await self._move(CaptureView(CaptureState.FINISHED), self._now_sample(), None)
        await self._tell_state()

    async def _wind_up(self, at: int, reason: EndReason) -> None:
        """After Finish: the last words, the books, the bot home, and the rest is the workflow's."""
        await self._at_last(lambda: self._finish_lanes(at))
        await self._at_last(lambda: self._go_home(reason))
        await self._at_last(lambda: self._services.begin_aftercall(self.session_id))
        await self._tell_state()

    async def _finish_lanes(self, at: int) -> None:
        media = self.media
        if media is None:
            return
        if not await media.finish(at):
            log.error("ledger_does_not_close", session_id=self.session_id)
            self._warn("ledger-open", None)
        await self._tell_ledger()

    async def _go_home(self, reason: EndReason) -> None:
        async with self._lock:
            await self._send_bot_home(reason)

    async def _discard_lanes(self, at: int) -> None:
        if self.media is not None:
            await self.media.discard(at)

    async def _at_last(self, step: Callable[[], Awaitable[object]]) -> None:
        """Take a step of the end, again and again while the database takes nothing: what has ended must be dealt with.

        A process that stops meanwhile leaves it to the next start.
        """
        while True:
            try:
                await step()
            except Overloaded as error:
                self._on_fault(warning_of(error))
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                return

    async def _throw_away(self, at: int, reason: EndReason = EndReason.STOPPED_BY_CLINICIAN) -> None:
        """After Discard, or a withdrawal that destroys: nothing that was captured or recognised is kept."""
        await self._at_last(lambda: self._discard_lanes(at))
        await self._at_last(lambda: self._go_home(reason))
        await self._at_last(lambda: self._services.discard_session(self.session_id))
        await self.refresh()

    async def resume_after_crash(self) -> None:
        """Come back into the state the process left: what is in the spool is recognised, paused stays paused, and who
        was asked for consent is still asked.
        """
        assert self.record.call_started_at is not None
        self._call_clock = CallClock(self._clock, started_at=self.record.call_started_at)
        for seat in self.lobby.seats.values():
            seat.left_at_s = self._clock.monotonic_s() if seat.admitted else None
        self._asked_s = self._clock.monotonic_s()
        await self._move_bot(BotState.REJOINING)
        await self._open_media(await self._known_lanes())
        assert self.media is not None
        now = self._now_sample()
        gone_from = await self.media.recover(now)
        pause = await self._restate_pauses()
        if pause is None and self.view.state is not CaptureState.CONSENT_PENDING:
            await self._state_outage(gone_from and max(gone_from, self._asked_at), now)
        self._since_sample = now if pause is None else pause.start_ms * SAMPLES_PER_MS
        if not self._consented():
            await self._resettle()  # a no was recorded, and the pause that follows from it was not yet
        self._apply_gates(now)
        await self._move_bot(BotState.IN_CALL)

    async def _state_outage(self, gone_from: int | None, back_at: int) -> None:
        if gone_from is not None and back_at > gone_from:
            gap = Gap(ms_of(gone_from), ms_of(back_at), GapReason.INTERRUPTED)
            await self._store.add_gap(self.session_id, gap)

    async def _restate_pauses(self) -> Pause | None:
        """State the pauses whose end was recorded and whose gap was not; the one that the last change left or ended."""
        events: list[SessionEvent] = []
        while page := await self._store.events(self.session_id, events[-1].seq if events else 0):
            events += page
        found = pauses(events)
        for start_ms, end_ms in found:
            if end_ms is not None and self.record.capture is not CaptureState.DISCARDED:
                await self._store.add_gap(self.session_id, Gap(start_ms, end_ms, GapReason.PAUSED))
        started = [event.data["effective_at_ms"] for event in events if event.kind == STARTED]
        self._began_ms = started[-1] if started else None
        changes = [event for event in events if event.kind.startswith("capture.") and "state" in event.data]
        if changes:
            self._asked_at = changes[-1].data["effective_at_ms"] * SAMPLES_PER_MS
        if not found or not changes:
            return None
        ended_by_last = found[-1].end_ms == changes[-1].data["effective_at_ms"]
        over = self.record.capture in {CaptureState.FINISHED, CaptureState.DISCARDED}
        return found[-1] if found[-1].end_ms is None or (over and ended_by_last) else None

    def take_up_end(self) -> None:
        """The process stopped between Finish or Discard and its effect: let that come now, as a task of its own."""
        self._end(self._end_after_crash(), "end_after_crash")

    async def _end_after_crash(self) -> None:
        try:
            await self._close_books()
        except QuietnoteError as error:
            log.error("books_not_closed", session_id=self.session_id, error=type(error).__name__)
        if self.record.capture is CaptureState.FINISHED:
            await self._services.begin_aftercall(self.session_id)
        else:
            await self._services.discard_session(self.session_id)

    async def _close_books(self) -> None:
        """Bring every lane to where the call ended, and the bot home."""
        record, pause = self.record, await self._restate_pauses()
        if record.bot in BOT_PRESENT:
            assert record.call_started_at is not None
            self._call_clock = CallClock(self._clock, started_at=record.call_started_at)
            at = self._end_sample()
            await self._open_media(await self._known_lanes())
            assert self.media is not None
            if record.capture is CaptureState.FINISHED:
                gone_from = await self.media.recover(at)
                if pause is None:  # what was asked to end was recorded a moment later: nothing is missing in between
                    await self._state_outage(gone_from, min(at, self._asked_at))
                await self.media.finish(at)
            else:
                await self.media.discard(at)
        async with self._lock:
            withdrawn = record.withdrawn_by is not None
            await self._send_bot_home(EndReason.CONSENT_DECLINED if withdrawn else EndReason.STOPPED_BY_CLINICIAN)
            if self.record.bot is BotState.LEAVING:
                await self._move_bot(BotState.DONE, self.record.bot_end_reason)

    async def abandon(self) -> None:
        """The process stopped while the bot was coming in: nothing was asked for yet, so nothing is kept."""
        await self._send_bot_home(EndReason.PLATFORM_ERROR)
