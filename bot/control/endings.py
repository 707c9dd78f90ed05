"""How a recording ends: by Finish, by Discard, by itself; and how one that the process left is taken up again."""

from __future__ import annotations

import structlog

from bot.clock import CallClock
from bot.control.capture import Actor, CaptureView
from bot.control.moves import Moves
from bot.control.pauses import pauses
from bot.control.stage import BOT_PRESENT
from bot.errors import QuietnoteError
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

log = structlog.get_logger()


class Endings(Moves):
    """A session whose recording can end, whatever ended it."""

    async def end(self, actor: Actor, reason: EndReason) -> None:
        """The call ended without Finish: what was captured is finished all the same."""
        async with self._lock:
            if self.view.state not in {CaptureState.CAPTURING, CaptureState.PAUSED}:
                return
            at = self._now_sample()
            await self._move(CaptureView(CaptureState.FINISHED), at, actor)
            self._spawn(self._wind_up(at, reason), "wind_up")
        await self._tell_state()

    async def _wind_up(self, at: int, reason: EndReason) -> None:
        """After Finish: the last words, the books, the bot home, and the rest is the workflow's."""
        media = self.media
        if media is not None:
            closes = await media.finish(at)
            if not closes:
                log.error("ledger_does_not_close", session_id=self.session_id)
                self._warn("ledger-open", None)
            await self._tell_ledger()
        async with self._lock:
            await self._send_bot_home(reason)
        await self._services.begin_aftercall(self.session_id)
        await self._tell_state()

    async def _throw_away(self, at: int) -> None:
        """After Discard: nothing that was captured or recognised is kept."""
        if self.media is not None:
            await self.media.discard(at)
        async with self._lock:
            await self._send_bot_home(EndReason.STOPPED_BY_CLINICIAN)
        await self._services.discard_session(self.session_id)
        await self.refresh()

    async def resume_after_crash(self) -> None:
        """Come back into the state the process left: what is in the spool is recognised, paused stays paused."""
        assert self.record.call_started_at is not None
        self._call_clock = CallClock(self._clock, started_at=self.record.call_started_at)
        for seat in self.lobby.seats.values():
            seat.left_at_s = self._clock.monotonic_s() if seat.admitted else None
        await self._move_bot(BotState.REJOINING)
        await self._open_media(await self._known_lanes())
        assert self.media is not None
        now = self._now_sample()
        gone_from = await self.media.recover(now)
        since = await self._restate_pauses()
        if since is None and gone_from is not None and now > gone_from:
            gap = Gap(ms_of(gone_from), ms_of(now), GapReason.INTERRUPTED)
            await self._store.add_gap(self.session_id, gap)
        self._apply_gates(now)
        self._since_sample = now if since is None else since * SAMPLES_PER_MS
        await self._move_bot(BotState.IN_CALL)

    async def _restate_pauses(self) -> int | None:
        """State the pauses whose end was recorded and whose gap was not; since when it is paused now, in ms."""
        events: list[SessionEvent] = []
        while page := await self._store.events(self.session_id, events[-1].seq if events else 0):
            events += page
        since = None
        for start_ms, end_ms in pauses(events):
            if end_ms is None:
                since = start_ms
            elif self.record.capture is not CaptureState.DISCARDED:
                await self._store.add_gap(self.session_id, Gap(start_ms, end_ms, GapReason.PAUSED))
        return since

    def take_up_end(self) -> None:
        """The process stopped between Finish or Discard and its effect: let that come now, as a task of its own."""
        self._spawn(self._end_after_crash(), "end_after_crash")

    async def _end_after_crash(self) -> None:
        try:
            await self._restate_pauses()
            await self._close_books()
        except QuietnoteError as error:
            log.error("books_not_closed", session_id=self.session_id, error=type(error).__name__)
        if self.record.capture is CaptureState.FINISHED:
            await self._services.begin_aftercall(self.session_id)
        else:
            await self._services.discard_session(self.session_id)

    async def _close_books(self) -> None:
        """Bring every lane to where the call ended, and the bot home."""
        record = self.record
        if record.bot in BOT_PRESENT:
            assert record.call_started_at is not None
            self._call_clock = CallClock(self._clock, started_at=record.call_started_at)
            at = self._end_sample()
            await self._open_media(await self._known_lanes())
            assert self.media is not None
            if record.capture is CaptureState.FINISHED:
                await self.media.recover(at)
                await self.media.finish(at)
            else:
                await self.media.discard(at)
        async with self._lock:
            await self._send_bot_home(EndReason.STOPPED_BY_CLINICIAN)
            if self.record.bot is BotState.LEAVING:
                await self._move_bot(BotState.DONE, self.record.bot_end_reason)

    async def abandon(self) -> None:
        """The process stopped while consent was asked for: nothing was captured, so there is nothing to keep."""
        await self._move(CaptureView(CaptureState.OFF), 0, None)
        await self._send_bot_home(EndReason.PLATFORM_ERROR)
