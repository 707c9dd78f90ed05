"""What is asked of a session, carried out: capture, consent, and the ends of a call.

Every door ends in :meth:`Conduct.capture` and :meth:`Conduct.consent`. A pause shuts the gates before anything is
awaited; what is written to the database afterwards only records it.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import structlog

from bot.clock import CallClock
from bot.control import watch
from bot.control.botrun import BotRun
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
from bot.control.keeping import warning_of
from bot.control.lobby import Lobby, Seat
from bot.control.stage import BOT_PRESENT, LiveServices
from bot.errors import (
    AiFeaturesDisabled,
    ClientNotPresent,
    Overloaded,
    PreconditionFailed,
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
    GateState,
    PauseReason,
    Role,
    TranscriptState,
    ms_of,
)
from bot.store.sessions import SessionRecord

log = structlog.get_logger()

NEVER_STALE = frozenset({CaptureAction.PAUSE, CaptureAction.FINISH, CaptureAction.DISCARD})
"""Actions that are carried out whatever state their sender last saw."""


class Conduct(BotRun):
    """A session whose capture can be conducted."""

    _unrecorded = False
    """Recording is held, and the database does not know it yet."""
    _held_for: frozenset[PauseReason] = frozenset()
    """What held this pause before, of all that did."""
    _shutting = 0
    """Pauses and ends that were asked for and are not recorded yet: gates stay shut, whatever else happens."""

    def __init__(self, services: LiveServices, record: SessionRecord, lobby: Lobby) -> None:
        super().__init__(services, record, lobby)
        self._withdrawing: Counter[str] = Counter()
        """Who said no, or took their yes back, which is not recorded yet."""

    def _gates(self, view: CaptureView) -> dict[str, GateState]:
        """What was asked to be shut is shut before it is recorded, and cannot be opened until it is."""
        if self._shutting and view.state is CaptureState.CAPTURING:
            view = hold(view, PauseReason.CLINICIAN)
        if self._withdrawing.total() and not self._consented():
            view = settle(view, consented=False)
        return {pid: lane_gate(view, self._consent_of(seat)) for pid, seat in self.lobby.seats.items()}

    def _consent_of(self, seat: Seat) -> ConsentState:
        return ConsentState.REVOKED if self._withdrawing[seat.member.participant_id] else seat.consent

    async def capture(self, actor: Actor, action: CaptureAction, *, message_id: str | None, seq: int | None) -> Ack:
        """Start, pause, resume, finish or discard."""
        permit(actor, Action.CAPTURE)
        known = self._acks.recent(actor.name, message_id)
        if known is not None:
            return known
        at = self._now_sample()
        shuts = action in NEVER_STALE
        self._shutting += shuts
        try:
            if shuts and self.media is not None and self.view.state is CaptureState.CAPTURING:
                at = self.media.set_gates(self._gates(self.view), at)
            ack = await self._carry_out(actor, action, at, message_id, seq)
        finally:
            self._shutting -= shuts
            if shuts:
                self._apply_gates(self._now_sample())
        await self._tell_state()
        return ack

    async def _carry_out(
        self, actor: Actor, action: CaptureAction, at: int, message_id: str | None, seq: int | None
    ) -> Ack:
        async with self._lock:
            remembered = await self._acks.find(actor.name, message_id)
            if remembered is not None:
                return remembered
            if seq is not None and seq < self._control_seq and action not in NEVER_STALE:
                raise PreconditionFailed("The session changed since you saw it.", seq=self.record.seq)
            if action is CaptureAction.START and self.view.state is CaptureState.OFF:
                await self._start(actor)
            else:
                await self._act(actor, action, at)
            ack = Ack(self.view.state, ms_of(self._since_sample), self.record.seq)
            await self._acks.keep(actor.name, message_id, ack)
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
        if after == self.view and not self._unrecorded:
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
        """Take a participant's own answer: a yes to the text of this session, a no whatever was read."""
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
        shuts = decision is not ConsentState.GRANTED
        self._withdrawing[participant_id] += shuts
        try:
            if shuts and self.media is not None:
                self._apply_gates(at)
                if seat.consent is ConsentState.GRANTED:
                    self.media.drop_open(participant_id)
            async with self._lock:
                remembered = await self._acks.find(actor.name, message_id)
                if remembered is not None:
                    return remembered
                if seq is not None and seq < self._control_seq and not shuts:
                    raise PreconditionFailed("The session changed since you saw it.", seq=self.record.seq)
                if not shuts and text_version not in {"", self.consent_text(seat.member.role).version}:
                    raise PreconditionFailed("Consent is to the text shown in this session, and this is another one.")
                decision = _as_it_is(seat.consent, decision)
                await self._record_consent(seat, decision, method, text_version, actor)
                await self._after_consent(decision, at)
                ack = Ack(self.view.state, ms_of(at), self.record.seq)
                await self._acks.keep(actor.name, message_id, ack)
        finally:
            self._withdrawing[participant_id] -= shuts
            self._apply_gates(self._now_sample())
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

    def _consented(self) -> bool:
        people = [
            Presence(s.member.participant_id, s.member.role, s.present, self._consent_of(s))
            for s in self.lobby.seats.values()
        ]
        if self.record.audio is AudioState.ABSENT and not any(p.present and _agreed(p) for p in people):
            return False  # the first sample waits until somebody who agreed is in the room themselves
        return consent_holds(people, pause_all=self.config.consent.late_joiner == "pause_all")

    async def _resettle(self) -> None:
        """Let capture follow consent."""
        after = settle(self.view, consented=self._consented())
        if after != self.view:
            await self._move(after, self._now_sample(), None)

    async def _move(self, after: CaptureView, at: int, actor: Actor | None) -> None:
        """Make ``after`` the state: gates first, then the record. A failed record never reopens a gate.

        While the record fails, recording is held: every page is told so, and the same action again records it.
        """
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
            log.error("state_not_recorded", session_id=self.session_id, error=type(error).__name__)
            self._on_fault(warning_of(error))
            if before.state is CaptureState.CAPTURING:
                self._hold_unrecorded(before, at)
                raise Overloaded("The change could not be stored; recording is held.") from None
            self.view = before
            self._apply_gates(self._now_sample())
            raise Overloaded("The change could not be stored.") from None
        self._unrecorded = False
        self._control_seq = self.record.seq
        if before.state is CaptureState.PAUSED:
            self._held_for |= before.reasons
        if before.state is not after.state:
            since, self._since_sample = self._since_sample, at
            reasons, self._held_for = self._held_for, frozenset()
            if before.state is CaptureState.PAUSED and after.state is not CaptureState.DISCARDED:
                gap = Gap(ms_of(since), ms_of(at), GapReason.PAUSED, None, tuple(sorted(reasons)))
                await self._store.add_gap(self.session_id, gap)

    def _hold_unrecorded(self, before: CaptureView, at: int) -> None:
        """What was captured stays shut from ``at`` on, though the database does not know it yet."""
        self.view = CaptureView(CaptureState.PAUSED, before.reasons | {PauseReason.CLINICIAN})
        self._unrecorded = True
        self._since_sample = at
        self._spawn(self._tell_state(), "held")

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
        text = self.consent_text(seat.member.role)
        version = text_version or text.version
        self.record = await self._store.record_consent(
            self.session_id,
            seat.member.participant_id,
            decision,
            method=method,
            text_version=version,
            text_sha256=text.sha256 if version == text.version else "",
            by=actor.name,
        )
        seat.consent = decision
        self._control_seq = self.record.seq

    async def _ask(self, seat: Seat) -> None:
        system = Actor(ActorKind.SYSTEM, self.record.clinic_id)
        await self._record_consent(seat, ConsentState.REQUESTED, "asked", "", system)

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

    async def end(self, actor: Actor, reason: EndReason) -> None:
        """The call ended without Finish: what was captured is finished all the same."""
        async with self._lock:
            if self.view.state not in {CaptureState.CAPTURING, CaptureState.PAUSED}:
                return
            at = self._now_sample()
            await self._move(CaptureView(CaptureState.FINISHED), at, actor)
            self._spawn(self._wind_up(at, reason), "wind_up")
        await self._tell_state()

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
        if gone_from is not None and now > gone_from:
            gap = Gap(ms_of(gone_from), ms_of(now), GapReason.INTERRUPTED)
            await self._store.add_gap(self.session_id, gap)
        self._apply_gates(now)
        self._since_sample = now
        await self._move_bot(BotState.IN_CALL)

    def take_up_end(self) -> None:
        """The process stopped between Finish or Discard and its effect: let that come now, as a task of its own."""
        self._spawn(self._end_after_crash(), "end_after_crash")

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

    async def refresh(self) -> None:
        """Take up what the workflow changed, and tell the pages."""
        self.record = await self._store.get(self.session_id)
        await self._tell_state()


def _as_it_is(now: ConsentState, said: ConsentState) -> ConsentState:
    """A no is a no, whichever word it came with: it takes back what was given, and declines what was only asked."""
    match said, now:
        case ConsentState.DECLINED, ConsentState.GRANTED:
            return ConsentState.REVOKED
        case ConsentState.REVOKED, ConsentState.UNKNOWN | ConsentState.REQUESTED:
            return ConsentState.DECLINED
        case (ConsentState.DECLINED | ConsentState.REVOKED), (ConsentState.DECLINED | ConsentState.REVOKED):
            return now
    return said


def _agreed(person: Presence) -> bool:
    """A client, or who answers for one, who has agreed."""
    return person.role in CLIENT_SIDE and person.consent is ConsentState.GRANTED
