"""The bot in one call: coming in, hearing, going home."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bot.asr.scheduler import SetAside
from bot.control import channel
from bot.control.callmedia import CallMedia
from bot.control.capture import CaptureView
from bot.control.faults import Watchdogs
from bot.control.lobby import Seat
from bot.control.receiving import Receiving
from bot.control.stage import BOT_PRESENT, Stage
from bot.errors import (
    QuietnoteError,
)
from bot.events import (
    SAMPLE_RATE_HZ,
    BotState,
    EndReason,
    GateState,
    Role,
    Segment,
    ms_of,
)
from bot.media.room import RoomEvent
from bot.store.parts import audio_name

SET_ASIDE = "words-set-aside"
"""Warning: a stretch could not be recognised yet."""


class BotRun(Stage, ABC):
    """A session that can have a bot."""

    receiving: Receiving | None = None
    """Whose sound the bot takes, while there is one."""
    watchdogs: Watchdogs | None = None
    """What looks for faults, while there is one."""
    _receive_rev = 0
    """Counts the `receive` messages: two ways lead to a page, and the older may come last."""

    async def _bring_the_bot(self, part: int) -> None:
        """A bot run begins, for that part of the session: the bot takes its seat, and the pages connect to it."""
        await self._send_bot_home(EndReason.PLATFORM_ERROR)  # a run that a fault left half begun ends first
        self._starting = True
        self._warnings.clear()  # what was warned of in another run can be warned of again
        for state in (BotState.REQUESTED, BotState.JOINING):
            await self._move_bot(state)
        try:
            here = [seat.member for seat in self.lobby.seats.values() if seat.present and seat.host is None]
            await self._open_media({member.participant_id: member.role for member in here}, part)
            if part > 1 and self.media is not None:
                await self.media.catch_up()
        except QuietnoteError:
            await self._move_bot(BotState.FAILED, EndReason.PLATFORM_ERROR)
            raise
        self._apply_gates(self._now_sample())
        await self._move_bot(BotState.IN_CALL)
        await self.lobby.send_roster(self.bot_seat())

    async def _open_media(self, people: Mapping[str, Role], part: int | None = None) -> None:
        """Open lanes and room, for the newest part of the session or the one that begins."""
        assert self._call_clock is not None
        self.media = CallMedia(
            self._services.media,
            self.session_id,
            self._call_clock,
            language=self.record.language,
            audio=audio_name(self.session_id, part or self.record.part),
            epoch=self.record.epoch,
            spool_kind=self.config.audio.spool,
            on_segment=self._on_segment,
            on_room_event=self._on_room_event,
            on_fault=self._on_fault,
            on_set_aside=self._on_set_aside,
            on_first_sound=self._note_hearing,
        )
        await self.media.open(people)
        self.watchdogs = Watchdogs(self.config.capture)
        long_pause_s = self.config.capture.long_pause_s
        self.receiving = Receiving(long_pause_s, self._call_clock.now_sample, self._receive)

    async def _move_bot(self, state: BotState, reason: EndReason | None = None) -> None:
        self.record = await self._store.change(
            self.session_id,
            "bot.state_changed",
            data={"state": state.value} | ({"reason": reason.value} if reason else {}),
            bot=state,
            bot_end_reason=reason,
        )

    async def _send_bot_home(self, reason: EndReason) -> None:
        if self.record.bot in BOT_PRESENT:
            await self._move_bot(BotState.LEAVING, reason)
        elif self.record.bot is not BotState.LEAVING:
            return
        media, self.media = self.media, None
        self.receiving = self.watchdogs = None
        self._stand(())
        if media is not None:
            await media.close(reason)
        for seat in self.lobby.seats.values():
            seat.absent = False
        await self._move_bot(BotState.DONE, reason)
        await self.lobby.send_roster(self.bot_seat())

    def _end_sample(self) -> int:
        """Where the call ended; now, while it has not."""
        started, ended = self.record.call_started_at, self.record.ended_at
        if started is None or ended is None:
            return self._now_sample()
        return int((ended - started).total_seconds() * SAMPLE_RATE_HZ)

    async def let_go(self) -> int:
        """Erasure: no sound of this session stays in memory. How many lanes held any."""
        media, self.media = self.media, None
        if media is None:
            return 0
        lanes = await media.discard(self._end_sample())
        await media.close(EndReason.STOPPED_BY_CLINICIAN)
        return lanes

    async def _on_segment(self, segment: Segment) -> None:
        if segment.text and self.watchdogs is not None:
            self.watchdogs.words(segment.participant_id)
        if segment.text or segment.rev > 0:
            speakers = self.lobby.speakers(segment.participant_id)
            await self.broadcast(channel.caption(replace(segment, speakers=speakers)))

    def _on_set_aside(self, participant_id: str, aside: SetAside) -> None:
        """Words that could not be recognised: said now, and tried again after the call, from the audio that is kept."""
        self._warn(SET_ASIDE, participant_id)
        data = {"participant_id": participant_id, "reason": aside.reason.value}
        span = {"from": ms_of(aside.start_sample), "to": ms_of(aside.end_sample)}
        self._spawn(self._record_event("transcript.set_aside", data | span), "set_aside")

    def _note_hearing(self) -> None:
        """Tell who cannot be heard any more, or can again, and that recording runs once everybody is heard."""
        if self.media is None:
            return
        if self.receiving is not None:
            self.receiving.look()
        if self._starting and not self.media.hearing.waits:
            self._starting = False
            self._spawn(self._tell_state(), "started")
        absent = self.media.hearing.absent()
        changed = [pid for pid, seat in self.lobby.seats.items() if seat.absent is not (pid in absent)]
        for participant_id in changed:
            self.lobby.seats[participant_id].absent = participant_id in absent
        if changed:
            self._spawn(self._tell_absence({pid: pid in absent for pid in changed}), "absence")

    async def _tell_absence(self, changed: Mapping[str, bool]) -> None:
        await self.lobby.send_roster(self.bot_seat())
        for participant_id, absent in changed.items():
            data = {"participant_id": participant_id, "at_ms": self.now_ms()}
            await self._record_event("capture.absent" if absent else "capture.returned", data)

    async def _record_event(self, kind: str, data: Mapping[str, Any]) -> None:
        async with self._lock:
            self.record = await self._store.change(self.session_id, kind, data=data)

    async def _known_lanes(self) -> dict[str, Role]:
        """Everybody who has a lane: a stopped process may have left sound in it."""
        return {lane.participant_id: lane.role for lane in await self._store.lanes(self.session_id)}

    def _apply_gates(self, at: int) -> int:
        """Set every gate as the state wants it; from when on all of them hold."""
        if self.media is None:
            return at
        gates = self._gates(self.view)
        holds = self.media.set_gates(gates, at)
        if self.receiving is not None:
            self.receiving.follow(gates)
        return holds

    def _about_to_open(self) -> None:
        """Gates may open in a moment: whoever would be captured is asked for their sound now, not then."""
        if self.receiving is not None:
            self.receiving.about_to_open()

    def _receive(self, participant_id: str, on: bool) -> None:
        """Take up somebody's sound, or stop it, and ask their page to send it, or not to."""
        media, seat = self.media, self.lobby.seats[participant_id]
        if media is None or media.room is None:
            return
        media.room.receive(participant_id, on)
        if on:
            media.hearing.go_on(participant_id)
            self._starting |= seat.present
        else:
            media.hearing.rest(participant_id)
        self._spawn(self._tell_received(seat), "receive")

    async def _tell_received(self, seat: Seat) -> None:
        """Tell a page whether its sound is taken, by both ways that lead there: the quicker one counts."""
        media, receiving = self.media, self.receiving
        if media is None or media.room is None or receiving is None or not seat.present or seat.link is None:
            return
        self._receive_rev += 1
        who = seat.member.participant_id
        message = {"type": "receive", "on": receiving.receives(who), "rev": self._receive_rev}
        await media.room.send(json.dumps(message).encode(), to=who)
        await seat.link.send(message)

    @abstractmethod
    def _gates(self, view: CaptureView) -> dict[str, GateState]:
        """What each participant's gate does in this state of capture."""

    @abstractmethod
    def _on_room_event(self, event: RoomEvent) -> None:
        """Something happened in the room."""
