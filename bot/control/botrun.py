"""The bot in one call: coming in, hearing, going home."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from bot.control import channel
from bot.control.callmedia import CallMedia
from bot.control.capture import (
    CaptureView,
    lane_gate,
)
from bot.control.stage import BOT_PRESENT, Stage
from bot.errors import (
    QuietnoteError,
)
from bot.events import (
    BotState,
    EndReason,
    Role,
    Segment,
)
from bot.media.room import RoomEvent


class BotRun(Stage, ABC):
    """A session that can have a bot."""

    async def _bring_the_bot(self) -> None:
        """A bot run begins: the bot takes its seat, and the pages connect to it."""
        for state in (BotState.REQUESTED, BotState.JOINING):
            await self._move_bot(state)
        try:
            await self._open_media(
                {s.member.participant_id: s.member.role for s in self.lobby.seats.values() if s.present}
            )
        except QuietnoteError:
            await self._move_bot(BotState.FAILED, EndReason.PLATFORM_ERROR)
            raise
        self._apply_gates(self._now_sample())
        await self._move_bot(BotState.IN_CALL)
        await self.lobby.send_roster(self.bot_seat())

    async def _open_media(self, people: Mapping[str, Role]) -> None:
        assert self._call_clock is not None
        self.media = CallMedia(
            self._services.media,
            self.session_id,
            self._call_clock,
            language=self.record.language,
            spool_kind=self.config.audio.spool,
            on_segment=self._on_segment,
            on_room_event=self._on_room_event,
            on_fault=self._on_fault,
        )
        await self.media.open(people)

    async def _move_bot(self, state: BotState, reason: EndReason | None = None) -> None:
        self.record = await self._store.change(
            self.session_id,
            "bot.state_changed",
            data={"state": state.value} | ({"reason": reason.value} if reason else {}),
            bot=state,
            bot_end_reason=reason,
        )

    async def _send_bot_home(self, reason: EndReason) -> None:
        if self.record.bot not in BOT_PRESENT:
            return
        await self._move_bot(BotState.LEAVING, reason)
        media, self.media = self.media, None
        if media is not None:
            await media.close(reason)
        await self._move_bot(BotState.DONE, reason)
        await self.lobby.send_roster(self.bot_seat())

    async def let_go(self) -> int:
        """Erasure: no sound of this session stays in memory. How many lanes held any."""
        media, self.media = self.media, None
        if media is None:
            return 0
        lanes = await media.discard(self._now_sample())
        await media.close(EndReason.STOPPED_BY_CLINICIAN)
        return lanes

    async def _on_segment(self, segment: Segment) -> None:
        if segment.text or segment.rev > 0:
            await self.broadcast(channel.caption(segment))

    def _gates(self, view: CaptureView) -> dict[str, Any]:
        return {pid: lane_gate(view, seat.consent) for pid, seat in self.lobby.seats.items()}

    def _apply_gates(self, at: int) -> None:
        if self.media is not None:
            self.media.set_gates(self._gates(self.view), at)

    @abstractmethod
    def _on_room_event(self, event: RoomEvent) -> None:
        """Something happened in the room."""
