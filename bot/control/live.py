"""One live session as its doors see it: pages, in-call messages, and time.

    stage.py     record, people, clock, telling
    botrun.py    the bot in the call
    conduct.py   capture, consent, ends
    watching.py  who is there, what is wrong, when it ends by itself
    sharing.py   several named persons at one microphone
    live.py      pages, control messages, the tick

Each stands on the one above it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bot.control import channel, signalling
from bot.control.callmedia import LEDGER_EVERY, LEVELS_EVERY, TICK_S
from bot.control.capture import (
    Ack,
    Action,
    Actor,
    ActorKind,
    CaptureView,
    hold,
    lift,
    permit,
)
from bot.control.lobby import PageLink, Seat
from bot.control.sharing import Sharing, named
from bot.control.stage import BOT_PRESENT, LiveServices
from bot.control.telling import reads_warning
from bot.errors import (
    ConfigInvalid,
    NotFound,
    ProblemError,
)
from bot.events import (
    CaptureState,
    ConsentState,
    EndReason,
    PauseReason,
)
from bot.media.room import ControlMessage, LaneStarted, Member, MemberMuted, RoomClosed, RoomEvent
from bot.media.spool import CROWDED, ROOMY

COME_AGAIN = 1012
"""Close code of a WebSocket whose page may come back at once (RFC 6455's registry: service restart)."""
PAGE_TYPES = ("ping", "mute", "admit", "signal")
"""What a page may say beside the control messages."""


class LiveSession(Sharing):
    """A session while anybody is in it, or while its sound is being dealt with."""

    async def enter(
        self, member: Member, link: PageLink, pass_id: str = "", held: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """A participant's page came in (again), with the token of that id.

        What it could not say before, a pause or a no, is carried out before their return lets anything go on.
        """
        seat = await self.lobby.seat_page(member, link, pass_id, now_s=self._clock.monotonic_s())
        if not seat.admitted and self.media is not None and self.media.room is not None:
            await self.media.room.drop(member.participant_id)  # whoever held the seat before
        servers = self._services.media.ice.of(self.session_id, member.participant_id)
        await link.send(
            {
                "type": "welcome",
                "you": named(member),
                "invited": [named(seat.member) for seat in self.lobby.seats.values()],
                "session": {
                    "id": self.session_id,
                    "language": self.record.language,
                    "template": self.record.template,
                    "mode": self.record.mode,
                },
                "clinic": {
                    "name": self.config.name,
                    "support_contact": self.config.support_contact,
                    "client_captions": self.config.capture.client_captions,
                    "verbal_attested": self.config.consent.verbal_attested,
                },
                "ice_servers": [server.for_pages() for server in servers],
                "admitted": seat.admitted,
            }
            | self.wording_for(seat)
        )
        for message in held:
            await self.page_message(member, link, message)
        if seat.admitted:
            await self._someone_is_in(seat)
        else:
            await self.lobby.send_roster(self.bot_seat())
        await link.send(self.state_for(member.role))
        for message in self.standing_warnings():
            if reads_warning(seat, message):
                await link.send(message)
        self.wake()

    async def exit(self, member: Member, link: PageLink, *, heard_s: float | None = None) -> None:
        """A participant's page went away; ``heard_s``: unnoticed, and was heard last at that monotonic time."""
        now_s = self._clock.monotonic_s() if heard_s is None else heard_s
        if not self.lobby.unseat_page(member.participant_id, link, now_s):
            return
        if self.media is not None and self.media.room is not None:
            await self.media.room.drop(member.participant_id)
        await self._or_warn(self._one_less())
        await self._tell_state()  # with who left, what held the recording back may have gone

    async def _one_less(self) -> None:
        async with self._lock:
            await self._resettle()  # who held the others up may have been who left

    async def admit(self, actor: Actor, participant_id: str) -> None:
        """Let somebody in from the waiting room."""
        permit(actor, Action.ADMIT)
        seat = self.lobby.seats.get(participant_id)
        if seat is None:
            raise NotFound("Nobody of that id is invited to this session.")
        seat = seat.host or seat
        if not seat.admitted:
            await self._store.admit(self.session_id, seat.member.participant_id, by=actor.name)
            seat.admitted = True
            seat.admitted_pass = seat.page_pass if seat.link is not None else None
        await self._someone_is_in(seat)

    async def _someone_is_in(self, seat: Seat) -> None:
        """Somebody is in the room now: ask them if they must be asked, and let capture follow."""
        if seat.present and seat.here_since_ms is None:
            seat.here_since_ms = self.now_ms()
        async with self._lock:
            if seat.present and self.media is not None and self.record.bot in BOT_PRESENT:
                await self.media.ensure_lane(seat.member.participant_id, seat.member.role)
                for one in self.lobby.at_microphone(seat):
                    if one.consent in {ConsentState.UNKNOWN, ConsentState.EXPIRED}:
                        await self._ask(one)
                await self._resettle()
                await self._tell_received(seat)
        await self._watch_presence()  # who was missed is back
        await self.lobby.send_roster(self.bot_seat())
        await self._tell_state()

    async def page_message(self, member: Member, link: PageLink, message: Mapping[str, Any]) -> None:
        """Everything a page says after hello."""
        try:
            kind = message.get("type")
            if not isinstance(kind, str):
                raise ConfigInvalid("type: must be a text.")
            if kind in channel.CONTROL_TYPES or (kind not in PAGE_TYPES and "message_id" in message):
                # a page that hangs up meanwhile takes nothing back of what it said: least of all a pause
                await self._to_its_end(self._control(member, message, link.send), "control")
            elif kind == "ping":
                await link.send({"type": "pong"})
            elif kind == "mute":
                self._mute(member.participant_id, muted=channel.muted(message))
                await self.lobby.send_roster(self.bot_seat())
            elif kind == "admit":
                await self.admit(self._actor(member), str(message.get("participant_id")))
            elif kind == "signal":
                await signalling.carry(self.lobby, self.media, member, message, link)
                self._apply_gates(self._now_sample())
            else:
                raise ConfigInvalid(f"type: must be one of {', '.join([*channel.CONTROL_TYPES_LIST, *PAGE_TYPES])}.")
        except ProblemError as error:
            answers = channel.ANSWERS_SIGNAL if message.get("type") == "signal" else {}
            await link.send({"type": "problem", "problem": error.members()} | answers)

    def _actor(self, member: Member) -> Actor:
        return Actor(
            kind=ActorKind.PARTICIPANT,
            clinic_id=self.record.clinic_id,
            role=member.role,
            participant_id=member.participant_id,
            at_their_page=frozenset(one.member.participant_id for one in self.lobby.company_of(member.participant_id)),
        )

    async def _control(
        self, member: Member, raw: Mapping[str, Any], reply: Callable[[Mapping[str, Any]], Awaitable[None]]
    ) -> None:
        """Carry out one in-call control message and answer it, by whichever door it came."""
        try:
            message = channel.parse(raw)
        except ProblemError as error:
            message_id = raw.get("message_id")
            if isinstance(message_id, str) and message_id:
                await reply(channel.ack_refused(message_id[:80], self.record.seq, error))
                return
            raise
        try:
            if message.session_id is not None and message.session_id != self.session_id:
                raise NotFound("This is another session's room.")
            match message:
                case channel.CaptureMessage():
                    ack = await self.capture(
                        self._actor(member),
                        message.action,
                        message_id=message.message_id,
                        seq=message.seq,
                        text_version=message.consent.text_version if message.consent else "",
                    )
                case channel.ConsentMessage():
                    who = message.about(member.participant_id)
                    shown = self.consent_text(self.lobby.seat(who)).version  # by the welcome
                    ack = await self.consent(
                        self._actor(member),
                        who,
                        ConsentState(message.consent.decision),
                        method="in_call",
                        text_version=message.consent.text_version or shown,
                        message_id=message.message_id,
                        seq=message.seq,
                        destroy=message.consent.destroy,
                    )
                case channel.StatusMessage():
                    ack = Ack(self.view.state, self.now_ms(), self.record.seq)
                    await reply(self.state_for(member.role))
        except ProblemError as error:
            await reply(channel.ack_refused(message.message_id, self.record.seq, error))
        else:
            await reply(channel.ack_ok(message.message_id, ack))

    def _on_room_event(self, event: RoomEvent) -> None:
        match event:
            case ControlMessage():
                self._spawn(self._from_channel(event), "control")
            case MemberMuted():
                self._mute(event.participant_id, muted=event.muted)
            case LaneStarted() if self.media is not None:
                self.media.hearing.came_back(event.participant_id)
            case RoomClosed():
                self._spawn(self._room_closed(event.reason), "room_closed")
            case _:
                pass

    async def _room_closed(self, reason: EndReason) -> None:
        system = Actor(ActorKind.SYSTEM, self.record.clinic_id)
        if self.view.state in {CaptureState.CAPTURING, CaptureState.PAUSED}:
            await self.end(system, reason)

    async def _from_channel(self, event: ControlMessage) -> None:
        room = self.media.room if self.media is not None else None
        if room is None:
            return
        member = self.lobby.seat(event.participant_id).member

        async def reply(message: Mapping[str, Any]) -> None:
            link = self.lobby.seat(event.participant_id).link
            if self.media is not None and self.media.room is room:
                await room.send(json.dumps(message).encode(), to=member.participant_id)
            elif link is not None:  # what was said ended the bot, and the channel went with it
                await link.send(message)

        try:
            await self._control(member, channel.decode(event.payload), reply)
        except ProblemError as error:
            await reply({"type": "problem", "problem": error.members()})

    def _mute(self, participant_id: str, *, muted: bool) -> None:
        seat = self.lobby.seats.get(participant_id)
        if seat is not None:
            seat.muted = muted

    def wake(self) -> None:
        """Let time pass for this session: levels, counters, and who is there."""
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick_forever(), name=f"tick:{self.session_id}")

    async def _tick_forever(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(TICK_S)
            tick += 1
            await self._or_warn(self._expire_due())
            media = self.media
            if media is None:
                continue
            media.tick()
            self._note_hearing()
            if tick % LEVELS_EVERY == 0:
                self._watch_faults()
            if tick % LEVELS_EVERY == 0 and (levels := media.levels()):
                await self.broadcast({"type": "levels", "levels": levels})
            if tick % LEDGER_EVERY == 0:
                media.state_open_gaps()
                await media.save_words()
                await self._or_warn(media.save_ledgers())
                self.keep_warnings()
                await self._tell_ledger()
                await self._tell_lag()
                await self._or_warn(self._watch_presence())
                await self._or_warn(self._watch_storage(media.pressure()))

    async def _watch_storage(self, pressure: float) -> None:
        """Pause before what is captured could be kept nowhere, and go on once there is room again."""
        async with self._lock:
            held = PauseReason.STORAGE in self.view.reasons
            if pressure >= CROWDED and not held and self.view.state in {CaptureState.CAPTURING, CaptureState.PAUSED}:
                after = hold(self.view, PauseReason.STORAGE)
            elif pressure <= ROOMY and held:
                after = lift(self.view, PauseReason.STORAGE, consented=self._consented())
            else:
                return
            await self._move(after, self._now_sample(), Actor(ActorKind.SYSTEM, self.record.clinic_id))
        await self._tell_state()

    @property
    def is_idle(self) -> bool:
        """True when nobody is here and nothing goes on: opened again from the database it is the same."""
        present = any(seat.link is not None for seat in self.lobby.seats.values())
        return not (present or self.media or self._tasks or self._ending or self._unstored)

    async def send_away(self) -> None:
        """Another process goes on with this session: capture nothing more, store nothing, and send everybody there."""
        if self._ticker is not None:
            self._ticker.cancel()
        for task in self._tasks:
            task.cancel()
        links = [seat.link for seat in self.lobby.seats.values() if seat.link is not None]
        await asyncio.gather(*(link.close(COME_AGAIN, "served elsewhere") for link in links))
        media, self.media = self.media, None
        if media is not None:
            media.set_gates(self._gates(CaptureView(CaptureState.OFF)), self._now_sample())
            await media.close(EndReason.PLATFORM_ERROR)

    async def close(self) -> None:
        """The process stops: keep what is captured, close the connections, end the tasks."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.settle_tasks()
        if self.media is not None:
            self.media.set_gates(self._gates(CaptureView(CaptureState.OFF)), self._now_sample())
            await self.media.finish(self._now_sample(), for_good=False)
            await self.media.close(EndReason.PLATFORM_ERROR)
            self.media = None




__all__ = ["LiveServices", "LiveSession"]
