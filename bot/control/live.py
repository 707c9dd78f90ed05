"""One live session: the capture machine, consent, the room and the pages, held together.

Every door ends in :meth:`LiveSession.capture` and :meth:`LiveSession.consent`. A pause shuts the gates before anything
is awaited; what is written to the database afterwards only records it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from bot.clinics import ClinicConfig
from bot.clock import CallClock
from bot.control import channel, signalling, watch, wording
from bot.control.callmedia import LEDGER_EVERY, LEVELS_EVERY, TICK_S, CallMedia, MediaServices
from bot.control.capture import (
    Ack,
    Action,
    Actor,
    ActorKind,
    CaptureView,
    Presence,
    apply,
    consent_holds,
    hold,
    lane_gate,
    lift,
    permit,
    settle,
)
from bot.control.lobby import BOT_ID, BOT_NAME, Lobby, PageLink, Seat
from bot.control.memory import AckMemory
from bot.control.telling import Teller
from bot.errors import (
    AiFeaturesDisabled,
    ClientNotPresent,
    ConfigInvalid,
    NotFound,
    Overloaded,
    PreconditionFailed,
    ProblemError,
    QuietnoteError,
)
from bot.events import (
    CLIENT_SIDE,
    AudioState,
    BotState,
    CaptureAction,
    CaptureState,
    ConsentState,
    EndReason,
    Gap,
    GapReason,
    PauseReason,
    Role,
    Segment,
    TranscriptState,
    ms_of,
)
from bot.media.room import ControlMessage, Member, MemberMuted, RoomClosed, RoomEvent
from bot.store.bus import Bus
from bot.store.sessions import SessionRecord, SessionStore

log = structlog.get_logger()

BOT_PRESENT = frozenset(
    {BotState.REQUESTED, BotState.JOINING, BotState.WAITING_FOR_CLIENT, BotState.IN_CALL, BotState.REJOINING}
)
NEVER_STALE = frozenset({CaptureAction.PAUSE, CaptureAction.FINISH, CaptureAction.DISCARD})
"""Actions that are carried out whatever state their sender last saw."""


@dataclass(frozen=True, slots=True)
class LiveServices:
    """What live sessions are built from."""

    media: MediaServices
    bus: Bus
    begin_aftercall: Callable[[str], Awaitable[None]]
    discard_session: Callable[[str], Awaitable[None]]
    """Erase the audio, destroy the words, issue the receipts."""


class LiveSession:
    """A session while anybody is in it, or while its sound is being dealt with."""

    def __init__(self, services: LiveServices, record: SessionRecord, lobby: Lobby) -> None:
        self._services = services
        self._store: SessionStore = services.media.store
        self._clock = services.media.clock
        self.record = record
        self.config = ClinicConfig.model_validate(record.snapshot)
        self.lobby = lobby
        self.view = CaptureView(record.capture, record.pause_reasons)
        self.media: CallMedia | None = None
        self._call_clock: CallClock | None = None
        self._lock = asyncio.Lock()
        self._acks = AckMemory(self._store, record.id)
        self._teller = Teller(
            record.id, lobby, services.bus, services.media.vault, client_captions=self.config.capture.client_captions
        )
        self._control_seq = record.seq
        self._since_sample = 0
        self._ticker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._warnings: dict[tuple[str, str | None], int] = {}

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self.record.id

    def now_ms(self) -> int:
        """Milliseconds on the call's clock; 0 before the first Start."""
        return self._call_clock.now_ms() if self._call_clock else 0

    def bot_seat(self) -> dict[str, str] | None:
        """The bot as the roster shows it, or None while there is none."""
        if self.record.bot not in BOT_PRESENT or self.media is None or self.media.room is None:
            return None
        return {"participant_id": BOT_ID, "display_name": BOT_NAME, "state": self._scribe_state()}

    def state_message(self) -> dict[str, Any]:
        """The session's state, for pages and streams."""
        record = self.record
        return {
            "type": "state",
            "session_id": record.id,
            "seq": record.seq,
            "bot": record.bot.value,
            "bot_end_reason": record.bot_end_reason.value if record.bot_end_reason else None,
            "capture": self.view.state.value,
            "pause_reasons": sorted(reason.value for reason in self.view.reasons),
            "since_ms": ms_of(self._since_sample),
            "now_ms": self.now_ms(),
            "audio": record.audio.value,
            "transcript": record.transcript.value,
            "note": record.note.value,
            "note_id": record.note_id,
            "words": wording.status_words(self.view.state, record.transcript, record.note),
            "attributes": {"scribe.state": self._scribe_state()},
        }

    def _scribe_state(self) -> str:
        return {
            CaptureState.CAPTURING: "capturing",
            CaptureState.PAUSED: "paused",
            CaptureState.CONSENT_PENDING: "waiting",
        }.get(self.view.state, "off")

    # -- pages -------------------------------------------------------------------------------------------------------

    async def enter(self, member: Member, link: PageLink) -> None:
        """A participant's page came in (again)."""
        seat = await self.lobby.seat_page(member, link)
        text = wording.consent_text(self.config, self.record.language)
        await link.send(
            {
                "type": "welcome",
                "you": {
                    "participant_id": member.participant_id,
                    "role": member.role.value,
                    "display_name": member.display_name,
                },
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
                },
                "consent_wording": {"version": text.version, "text": text.text},
                "ice_servers": [{"urls": [url]} for url in self._services.media.ice_servers],
                "admitted": seat.admitted,
            }
        )
        if seat.admitted:
            await self._someone_is_in(seat)
        else:
            await self.lobby.send_roster(self.bot_seat())
        await link.send(self.state_message())
        self._ensure_ticker()

    async def exit(self, member: Member, link: PageLink) -> None:
        """A participant's page went away."""
        if not self.lobby.unseat_page(member.participant_id, link, self._clock.monotonic_s()):
            return
        if self.media is not None and self.media.room is not None:
            await self.media.room.drop(member.participant_id)
        await self.lobby.send_roster(self.bot_seat())

    async def admit(self, actor: Actor, participant_id: str) -> None:
        """Let somebody in from the waiting room."""
        permit(actor, Action.ADMIT)
        seat = self.lobby.seats.get(participant_id)
        if seat is None:
            raise NotFound("Nobody of that id is invited to this session.")
        if not seat.admitted:
            await self._store.admit(self.session_id, participant_id)
            seat.admitted = True
        await self._someone_is_in(seat)

    async def _someone_is_in(self, seat: Seat) -> None:
        """Somebody is in the room now: ask them if they must be asked, and let capture follow."""
        async with self._lock:
            if seat.present and self.media is not None and self.record.bot in BOT_PRESENT:
                await self.media.ensure_lane(seat.member.participant_id, seat.member.role)
                if seat.consent is ConsentState.UNKNOWN:
                    await self._ask(seat)
                await self._resettle()
        await self.lobby.send_roster(self.bot_seat())
        await self._tell_state()

    async def page_message(self, member: Member, link: PageLink, message: Mapping[str, Any]) -> None:
        """Everything a page says after hello."""
        try:
            kind = message.get("type")
            if kind in channel.CONTROL_TYPES:
                await self._control(member, message, link.send)
            elif kind == "ping":
                await link.send({"type": "pong"})
            elif kind == "mute":
                self._mute(member.participant_id, muted=message.get("muted") is True)
                await self.lobby.send_roster(self.bot_seat())
            elif kind == "admit":
                await self.admit(self._actor(member), str(message.get("participant_id")))
            elif kind == "signal":
                await signalling.carry(self.lobby, self.media, member, message, link)
                self._apply_gates(self._now_sample())
            else:
                raise ConfigInvalid("type: unknown message type.")
        except ProblemError as error:
            await link.send({"type": "problem", "problem": channel.problem_of(error)})

    # -- control messages --------------------------------------------------------------------------------------------

    def _actor(self, member: Member) -> Actor:
        return Actor(
            kind=ActorKind.PARTICIPANT,
            clinic_id=self.record.clinic_id,
            role=member.role,
            participant_id=member.participant_id,
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
                        self._actor(member), message.action, message_id=message.message_id, seq=message.seq
                    )
                case channel.ConsentMessage():
                    ack = await self.consent(
                        self._actor(member),
                        member.participant_id,
                        ConsentState(message.consent.decision),
                        method="in_call",
                        text_version=message.consent.text_version,
                        message_id=message.message_id,
                        seq=message.seq,
                    )
                case channel.StatusMessage():
                    ack = Ack(self.view.state, self.now_ms(), self.record.seq)
                    await reply(self.state_message())
        except ProblemError as error:
            await reply(channel.ack_refused(message.message_id, self.record.seq, error))
        else:
            await reply(channel.ack_ok(message.message_id, ack))

    async def capture(self, actor: Actor, action: CaptureAction, *, message_id: str | None, seq: int | None) -> Ack:
        """Start, pause, resume, finish or discard."""
        permit(actor, Action.CAPTURE)
        known = self._acks.recent(actor.name, message_id)
        if known is not None:
            return known
        at = self._now_sample()
        if action in NEVER_STALE and self.media is not None and self.view.state is CaptureState.CAPTURING:
            self.media.set_gates(self._gates(hold(self.view, PauseReason.CLINICIAN)), at)
        async with self._lock:
            remembered = await self._acks.find(actor.name, message_id)
            if remembered is not None:
                self._apply_gates(self._now_sample())
                return remembered
            if seq is not None and seq < self._control_seq and action not in NEVER_STALE:
                raise PreconditionFailed("The session changed since you saw it.", seq=self.record.seq)
            if action is CaptureAction.START and self.view.state is CaptureState.OFF:
                await self._start(actor)
            else:
                await self._act(actor, action, at)
            ack = Ack(self.view.state, ms_of(self._since_sample), self.record.seq)
            await self._acks.keep(actor.name, message_id, ack)
        await self._tell_state()
        return ack

    async def _start(self, actor: Actor) -> None:
        if not self.config.ai_features.enabled:
            raise AiFeaturesDisabled
        if not self.lobby.client_present():
            raise ClientNotPresent
        for seat in self.lobby.seats.values():
            if seat.member.role is Role.CLINICIAN and self._speaks_for(actor, seat):
                await self._record_consent(seat, ConsentState.GRANTED, "pressed_start", "", actor)
        if self.record.call_started_at is None:
            self.record = await self._store.change(
                self.session_id, "call.clock_started", call_started_at=self._clock.now()
            )
        assert self.record.call_started_at is not None
        self._call_clock = CallClock(self._clock, started_at=self.record.call_started_at)
        await self._bring_the_bot()
        for seat in self.lobby.seats.values():
            if seat.present and seat.consent not in {ConsentState.GRANTED, ConsentState.REQUESTED}:
                await self._ask(seat)
        await self._move(apply(self.view, CaptureAction.START, consented=self._consented()), self._now_sample(), actor)

    def _speaks_for(self, actor: Actor, seat: Seat) -> bool:
        """Pressing Start is the clinician's own consent; of several clinicians, of the one who pressed."""
        if seat.consent is ConsentState.GRANTED:
            return False
        if actor.participant_id is not None:
            return seat.member.participant_id == actor.participant_id
        clinicians = [s for s in self.lobby.seats.values() if s.member.role is Role.CLINICIAN]
        return len(clinicians) == 1 or seat.member.participant_id == actor.user_id

    async def _act(self, actor: Actor, action: CaptureAction, at: int) -> None:
        after = apply(self.view, action, consented=self._consented())
        if after == self.view:
            return
        await self._move(after, at, actor)
        if after.state is CaptureState.FINISHED:
            self._spawn(self._wind_up(at, EndReason.STOPPED_BY_CLINICIAN), "wind_up")
        elif after.state is CaptureState.DISCARDED:
            self._spawn(self._throw_away(at), "throw_away")

    async def consent(
        self,
        actor: Actor,
        participant_id: str,
        decision: ConsentState,
        *,
        method: str,
        text_version: str,
        message_id: str | None,
        seq: int | None,
    ) -> Ack:
        """Take a participant's own answer."""
        action = {
            ConsentState.GRANTED: Action.GRANT,
            ConsentState.DECLINED: Action.DECLINE,
            ConsentState.REVOKED: Action.REVOKE,
        }[decision]
        permit(actor, action, about=participant_id)
        seat = self.lobby.seat(participant_id)
        known = self._acks.recent(actor.name, message_id)
        if known is not None:
            return known
        at = self._now_sample()
        if decision is not ConsentState.GRANTED and self.media is not None:
            seat.consent = decision if seat.consent is not ConsentState.REVOKED else seat.consent
            self._apply_gates(at)
            self.media.drop_open(participant_id)
        async with self._lock:
            remembered = await self._acks.find(actor.name, message_id)
            if remembered is not None:
                return remembered
            if seq is not None and seq < self._control_seq and decision is ConsentState.GRANTED:
                raise PreconditionFailed("The session changed since you saw it.", seq=self.record.seq)
            seat.consent = next(
                p.consent for p in await self._store.participants(self.session_id) if p.id == participant_id
            )
            try:
                await self._record_consent(seat, decision, method, text_version, actor)
            finally:
                self._apply_gates(self._now_sample())
            await self._after_consent(decision, at)
            ack = Ack(self.view.state, ms_of(at), self.record.seq)
            await self._acks.keep(actor.name, message_id, ack)
        await self.lobby.send_roster(self.bot_seat())
        await self._tell_state()
        return ack

    async def _after_consent(self, decision: ConsentState, at: int) -> None:
        clients = [s for s in self.lobby.seats.values() if s.member.role in CLIENT_SIDE]
        nobody_left = all(s.consent in {ConsentState.DECLINED, ConsentState.REVOKED} for s in clients)
        if decision is ConsentState.DECLINED and nobody_left and self.view.state is CaptureState.CONSENT_PENDING:
            await self._move(CaptureView(CaptureState.OFF), at, None)
            await self._send_bot_home(EndReason.CONSENT_DECLINED)
            return
        await self._resettle()

    # -- state -------------------------------------------------------------------------------------------------------

    def _now_sample(self) -> int:
        return self._call_clock.now_sample() if self._call_clock else 0

    def _consented(self) -> bool:
        people = [
            Presence(s.member.participant_id, s.member.role, s.present, s.consent) for s in self.lobby.seats.values()
        ]
        return consent_holds(people, pause_all=self.config.consent.late_joiner == "pause_all")

    async def _resettle(self) -> None:
        """Let capture follow consent."""
        after = settle(self.view, consented=self._consented())
        if after != self.view:
            await self._move(after, self._now_sample(), None)

    def _gates(self, view: CaptureView) -> dict[str, Any]:
        return {pid: lane_gate(view, seat.consent) for pid, seat in self.lobby.seats.items()}

    def _apply_gates(self, at: int) -> None:
        if self.media is not None:
            self.media.set_gates(self._gates(self.view), at)

    async def _move(self, after: CaptureView, at: int, actor: Actor | None) -> None:
        """Make ``after`` the state: gates first, then the record. A failed record never reopens a gate."""
        before, self.view = self.view, after
        self._apply_gates(at)
        kind, columns = self._change_of(after)
        try:
            self.record = await self._store.change(
                self.session_id,
                kind,
                data={
                    "state": after.state.value,
                    "effective_at_ms": ms_of(at),
                    "by": actor.name if actor else "system",
                },
                capture=after.state,
                pause_reasons=after.reasons,
                **columns,
            )
        except QuietnoteError as error:
            if after.state in {CaptureState.CAPTURING, CaptureState.CONSENT_PENDING}:
                self.view = before
                self._apply_gates(self._now_sample())
            else:
                self.view = CaptureView(CaptureState.PAUSED, before.reasons | {PauseReason.CLINICIAN})
            log.error("state_not_recorded", session_id=self.session_id, error=type(error).__name__)
            raise Overloaded("The change could not be stored; recording is held.") from None
        if before.state is CaptureState.PAUSED and after.state is not CaptureState.DISCARDED:
            await self._store.add_gap(
                self.session_id,
                Gap(ms_of(self._since_sample), ms_of(at), GapReason.PAUSED, None, tuple(sorted(before.reasons))),
            )
        if before.state is not after.state:
            self._since_sample = at
        self._control_seq = self.record.seq

    def _change_of(self, after: CaptureView) -> tuple[str, dict[str, Any]]:
        """The event's name and the columns that go with a move of the capture machine."""
        record, now = self.record, self._clock.now()
        match after.state:
            case CaptureState.CAPTURING if record.audio is AudioState.ABSENT:
                columns = {"audio": AudioState.HELD, "transcript": TranscriptState.LIVE, "captured_from": now}
                return "capture.started", columns
            case CaptureState.CAPTURING:
                return "capture.resumed", {}
            case CaptureState.PAUSED:
                return "capture.paused", {}
            case CaptureState.FINISHED:
                kept = timedelta(days=self.config.retention.transcript_days)
                erase = timedelta(hours=self.config.retention.erase_audio_within_h)
                columns = {"ended_at": now, "purge_at": now + kept, "erase_by": now + erase}
                return "capture.finished", columns
            case CaptureState.DISCARDED:
                return "capture.discarded", {"ended_at": now}
            case CaptureState.CONSENT_PENDING:
                return "capture.consent_pending", {}
            case _:
                return "capture.off", {}

    async def _record_consent(
        self, seat: Seat, decision: ConsentState, method: str, text_version: str, actor: Actor
    ) -> None:
        text = wording.consent_text(self.config, self.record.language)
        self.record = await self._store.record_consent(
            self.session_id,
            seat.member.participant_id,
            decision,
            method=method,
            text_version=text_version or text.version,
            text_sha256=hashlib.sha256(text.text.encode()).hexdigest(),
            by=actor.name,
        )
        seat.consent = decision
        self._control_seq = self.record.seq

    async def _ask(self, seat: Seat) -> None:
        system = Actor(ActorKind.SYSTEM, self.record.clinic_id)
        await self._record_consent(seat, ConsentState.REQUESTED, "asked", "", system)

    # -- the bot -----------------------------------------------------------------------------------------------------

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

    # -- what comes from below ---------------------------------------------------------------------------------------

    async def _on_segment(self, segment: Segment) -> None:
        if segment.text or segment.rev > 0:
            await self.broadcast(channel.caption(segment))

    def _on_room_event(self, event: RoomEvent) -> None:
        match event:
            case ControlMessage():
                self._spawn(self._from_channel(event), "control")
            case MemberMuted():
                self._mute(event.participant_id, muted=event.muted)
            case RoomClosed():
                self._spawn(self._room_closed(event.reason), "room_closed")
            case _:
                pass

    async def _room_closed(self, reason: EndReason) -> None:
        system = Actor(ActorKind.SYSTEM, self.record.clinic_id)
        if self.view.state in {CaptureState.CAPTURING, CaptureState.PAUSED}:
            await self.end(system, reason)

    async def end(self, actor: Actor, reason: EndReason) -> None:
        """The call ended without Finish: what was captured is finished all the same."""
        async with self._lock:
            if self.view.state not in {CaptureState.CAPTURING, CaptureState.PAUSED}:
                return
            at = self._now_sample()
            await self._move(CaptureView(CaptureState.FINISHED), at, actor)
            self._spawn(self._wind_up(at, reason), "wind_up")
        await self._tell_state()

    async def _from_channel(self, event: ControlMessage) -> None:
        room = self.media.room if self.media is not None else None
        if room is None:
            return
        member = self.lobby.seat(event.participant_id).member

        async def reply(message: Mapping[str, Any]) -> None:
            await room.send(json.dumps(message).encode(), to=member.participant_id)

        try:
            await self._control(member, channel.decode(event.payload), reply)
        except ProblemError as error:
            await reply({"type": "problem", "problem": channel.problem_of(error)})

    def _mute(self, participant_id: str, *, muted: bool) -> None:
        seat = self.lobby.seats.get(participant_id)
        if seat is not None:
            seat.muted = muted

    def _on_fault(self, slug: str) -> None:
        self._warn(slug, None)

    def _warn(self, slug: str, participant_id: str | None) -> None:
        if (slug, participant_id) in self._warnings:
            return
        self._warnings[slug, participant_id] = self.now_ms()
        message = {"type": "warning", "slug": slug, "participant_id": participant_id, "since_ms": self.now_ms()}
        self._spawn(self.broadcast(message), "warn")

    # -- telling -----------------------------------------------------------------------------------------------------

    async def broadcast(self, message: Mapping[str, Any]) -> None:
        """To the pages that may see it, the data channels, and, sealed, the streams."""
        await self._teller.tell(message, self.media.room if self.media is not None else None)

    async def _tell_state(self) -> None:
        await self.lobby.send_roster(self.bot_seat())
        await self.broadcast(self.state_message())

    async def _tell_ledger(self) -> None:
        if self.media is None:
            return
        lanes = {
            pid: {
                f"{part}_ms": ms_of(getattr(ledger, part))
                for part in ("captured", "paused", "withheld", "lost", "absent")
            }
            for pid, ledger in self.media.ledgers().items()
        }
        await self.broadcast({"type": "ledger", "lanes": lanes})

    async def resume_after_crash(self) -> None:
        """Come back into the state the process left: what is in the spool is recognised, paused stays paused."""
        assert self.record.call_started_at is not None
        self._call_clock = CallClock(self._clock, started_at=self.record.call_started_at)
        for seat in self.lobby.seats.values():
            seat.left_at_s = self._clock.monotonic_s() if seat.admitted else None
        await self._move_bot(BotState.REJOINING)
        await self._open_media(
            {s.member.participant_id: s.member.role for s in self.lobby.seats.values() if s.admitted}
        )
        assert self.media is not None
        gone_from = await self.media.recover()
        now = self._now_sample()
        if gone_from is not None and now > gone_from:
            gap = Gap(ms_of(gone_from), ms_of(now), GapReason.INTERRUPTED)
            await self._store.add_gap(self.session_id, gap)
        self._apply_gates(now)
        self._since_sample = now
        await self._move_bot(BotState.IN_CALL)
        self._ensure_ticker()

    async def let_go(self) -> int:
        """Erasure: no sound of this session stays in memory. How many lanes held any."""
        media, self.media = self.media, None
        if media is None:
            return 0
        lanes = await media.discard(self._now_sample())
        await media.close(EndReason.STOPPED_BY_CLINICIAN)
        return lanes

    async def abandon(self) -> None:
        """The process stopped while consent was asked for: nothing was captured, so there is nothing to keep."""
        await self._move(CaptureView(CaptureState.OFF), 0, None)
        await self._send_bot_home(EndReason.PLATFORM_ERROR)

    async def refresh(self) -> None:
        """Take up what the workflow changed, and tell the pages."""
        self.record = await self._store.get(self.session_id)
        await self._tell_state()

    # -- time --------------------------------------------------------------------------------------------------------

    def _ensure_ticker(self) -> None:
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick_forever(), name=f"tick:{self.session_id}")

    async def _tick_forever(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(TICK_S)
            tick += 1
            media = self.media
            if media is None:
                continue
            media.tick()
            if tick % LEVELS_EVERY == 0 and (levels := media.levels()):
                await self.lobby.broadcast({"type": "levels", "levels": levels})
            if tick % LEDGER_EVERY == 0:
                try:
                    await media.save_ledgers()
                except QuietnoteError as error:
                    self._on_fault(getattr(error, "slug", "overloaded"))
                await self._tell_ledger()
                await self._watch_presence()

    async def _watch_presence(self) -> None:
        """Carry out what :mod:`bot.control.watch` says of who is there."""
        verdict = watch.judge(
            self.view, self.lobby, self.config.capture, now_s=self._clock.monotonic_s(), call_ms=self.now_ms()
        )
        system = Actor(ActorKind.SYSTEM, self.record.clinic_id)
        if isinstance(verdict, EndReason):
            await self.end(system, verdict)
        elif verdict is not watch.Verdict.STAY:
            async with self._lock:
                if verdict is watch.Verdict.HOLD:
                    after = hold(self.view, PauseReason.CLINICIAN_ABSENT)
                else:
                    after = lift(self.view, PauseReason.CLINICIAN_ABSENT, consented=self._consented())
                await self._move(after, self._now_sample(), system)
            await self._tell_state()

    # -- owned tasks -------------------------------------------------------------------------------------------------

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def run() -> None:
            try:
                await work
            except QuietnoteError as error:
                log.error("session_task_failed", session_id=self.session_id, task=name, error=type(error).__name__)
                self._on_fault(getattr(error, "slug", "overloaded"))

        task = asyncio.create_task(run(), name=f"{name}:{self.session_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle_tasks(self) -> None:
        """Wait for what is under way (the end of a call, a discard)."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """The process stops: keep what is captured, close the connections, end the tasks."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.settle_tasks()
        if self.media is not None:
            self.media.set_gates(self._gates(CaptureView(CaptureState.OFF)), self._now_sample())
            await self.media.finish(self._now_sample())
            await self.media.close(EndReason.PLATFORM_ERROR)
            self.media = None
