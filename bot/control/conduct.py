"""What is asked of a session, carried out: capture, consent, and the ends of a call.

Every door ends in :meth:`Conduct.capture` and :meth:`Conduct.consent`. A pause shuts the gates before anything is
awaited; what is written to the database afterwards only records it.
"""

from __future__ import annotations

import structlog

from bot.clock import CallClock
from bot.control.attesting import ON_FILE, OVER, PRESSED_START, VERBAL, check_aloud
from bot.control.capture import (
    DOES,
    Ack,
    Action,
    Actor,
    ActorKind,
    apply,
    consent_action,
    permit,
)
from bot.control.keeping import warning_of
from bot.control.lobby import Seat
from bot.control.moves import Answer
from bot.control.mycopy import agreed
from bot.control.takingback import TakingBack
from bot.control.wording import Read, start_text
from bot.errors import (
    AiFeaturesDisabled,
    ClientNotPresent,
    InvalidTransition,
    Overloaded,
    PreconditionFailed,
    QuietnoteError,
)
from bot.events import (
    CLIENT_SIDE,
    CaptureAction,
    CaptureState,
    ConsentState,
    EndReason,
    Role,
    ms_of,
)
from bot.store.parts import STILL_ENDING, check_continues
from bot.store.records import Attestation

log = structlog.get_logger()

NEVER_STALE = frozenset({CaptureAction.PAUSE, CaptureAction.FINISH, CaptureAction.DISCARD})
"""Actions that are carried out whatever state their sender last saw."""
SUMMARY_ONLY = "summary_only"
"""The mode of a session whose note is made from what its clinician types, and from nothing else."""
BEGINS_FROM = frozenset(DOES[CaptureAction.START])
NEVER_RECORDED = "This session is Summary Only, so it is not recorded. Make another session to record one."

NO = frozenset({ConsentState.DECLINED, ConsentState.REVOKED})


class Conduct(TakingBack):
    """A session whose capture can be conducted."""

    _unfollowed: ConsentState | None = None
    """An answer that is recorded, and what follows from it is not."""

    async def capture(
        self, actor: Actor, action: CaptureAction, *, message_id: str | None, seq: int | None, text_version: str = ""
    ) -> Ack:
        """Start, pause, resume, finish or discard; ``text_version`` is of what was read beside Start."""
        permit(actor, Action.CAPTURE)
        known = self._acks.recent(actor.name, message_id, action)
        if known is not None:
            return known
        at = self._now_sample()
        shuts = action in NEVER_STALE
        if not shuts:
            self._about_to_open()
        self._shutting += shuts
        try:
            if shuts and self.media is not None and self.view.state is CaptureState.CAPTURING:
                at = self.media.set_gates(self._gates(self.view), at)
            ack = await self._carry_out(actor, action, at, message_id, seq, text_version)
        finally:
            self._shutting -= shuts
            if shuts:
                self._apply_gates(self._now_sample())
        await self._tell_state()
        return ack

    async def _carry_out(
        self,
        actor: Actor,
        action: CaptureAction,
        at: int,
        message_id: str | None,
        seq: int | None,
        text_version: str,
    ) -> Ack:
        async with self._lock:
            remembered = await self._remembered(actor, message_id, action)
            if remembered is not None:
                return remembered
            if seq is not None and seq < self._control_seq and action not in NEVER_STALE:
                raise PreconditionFailed("The session changed since you saw it.", seq=self.record.seq)
            if action is CaptureAction.START and self.view.state in BEGINS_FROM:
                await self._start(actor, text_version)
            else:
                await self._act(actor, action, at)
            ack = Ack(self.view.state, ms_of(self._since_sample), self.record.seq)
            await self._acks.keep(actor.name, message_id, action, ack)
            return ack

    async def _remembered(self, actor: Actor, message_id: str | None, action: CaptureAction) -> Ack | None:
        """The ack of a message that was carried out before. What shuts is carried out though nobody can look it up."""
        try:
            return await self._acks.find(actor.name, message_id, action)
        except Overloaded as error:
            if action not in NEVER_STALE:
                raise
            self._on_fault(warning_of(error))
            return None

    async def _start(self, actor: Actor, text_version: str) -> None:
        if self.record.mode == SUMMARY_ONLY:
            raise InvalidTransition(NEVER_RECORDED, state=self.view.state.value)
        if not self.config.ai_features.enabled:
            raise AiFeaturesDisabled
        goes_on = self.view.state is CaptureState.FINISHED
        if goes_on:
            check_continues(self.record, self._clock.now())
            if self._ending:
                raise InvalidTransition(STILL_ENDING, state=self.view.state.value)
        if not self.lobby.client_present():
            raise ClientNotPresent
        beside = start_text()
        read = beside.read if text_version == beside.version else Read()  # by HTTP it may have stood nowhere
        for seat in self.lobby.seats.values():
            if seat.member.role is Role.CLINICIAN and self._speaks_for(actor, seat):
                await self._record_consent(seat, ConsentState.GRANTED, PRESSED_START, read, actor)
        if self.record.call_started_at is None:
            self.record = await self._store.change(
                self.session_id, "call.clock_started", call_started_at=self._clock.now()
            )
        assert self.record.call_started_at is not None
        self._call_clock = CallClock(self._clock, started_at=self.record.call_started_at)
        self._asked_s = self._clock.monotonic_s()
        await self._bring_the_bot(self.record.part + goes_on)
        try:
            await self._ask_all()
            after = apply(self.view, CaptureAction.START, consented=self._consented())
            await self._move(self._held_by_absence(after), self._now_sample(), actor)
        except QuietnoteError:
            if goes_on:  # it is over again, and no bot stays for that
                await self._send_bot_home(EndReason.PLATFORM_ERROR)
            raise

    async def _ask_all(self) -> None:
        for seat in self.lobby.seats.values():
            if seat.present and seat.consent not in {ConsentState.GRANTED, ConsentState.REQUESTED}:
                await self._ask(seat)

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
        if action is CaptureAction.RESUME and not self.lobby.client_present():
            raise ClientNotPresent
        if after == self.view and not self._unrecorded:
            return
        await self._move(after, at, actor)
        if after.state is CaptureState.PAUSED:
            self._since_sample = min(self._since_sample, at)  # gates are shut since it was asked for
        elif after.state is CaptureState.FINISHED:
            self._end(self._wind_up(at, EndReason.STOPPED_BY_CLINICIAN), "wind_up")
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
        destroy: bool = False,
    ) -> Ack:
        """Take a participant's own answer: a yes to the text of this session, a no whatever was read.

        By the method ``verbal_attested`` it is a clinician's word that somebody else said yes aloud. With ``destroy``,
        and after the recording always, a withdrawal takes what was recorded so far with it.
        """
        action = consent_action(decision, aloud=method == VERBAL, destroy=destroy)
        permit(actor, action, about=participant_id)
        seat = self.lobby.seat(participant_id)
        known = self._acks.recent(actor.name, message_id, action)
        if known is not None:
            return known
        destroy = destroy or (self.view.state is CaptureState.FINISHED and await self._takes_back(seat, decision))
        at = self._now_sample()
        shuts = decision is not ConsentState.GRANTED
        self._withdrawing[participant_id] += shuts
        try:
            if not shuts and seat.consent is not ConsentState.GRANTED:
                self._about_to_open()
            if shuts and self.media is not None:
                self._apply_gates(at)
                if seat.consent is ConsentState.GRANTED:
                    self.media.drop_open((seat.host or seat).member.participant_id)
            async with self._lock:
                remembered = await self._acks.find(actor.name, message_id, action)
                if remembered is not None:
                    return remembered
                if seq is not None and seq < self._control_seq and not shuts:
                    raise PreconditionFailed("The session changed since you saw it.", seq=self.record.seq)
                if not shuts and text_version not in {"", self.consent_text(seat).version}:
                    raise PreconditionFailed("Consent is to the text shown in this session, and this is another one.")
                decision = _as_it_is(seat.consent, decision)
                read, vouched = self._read(seat, text_version), None
                if action is Action.ATTEST_ALOUD:
                    check_aloud(seat, self.config.consent, self.view.state)
                    vouched = Attestation(VERBAL, actor.name, text_version)
                if destroy:
                    await self._take_back(seat, Answer(decision, method, read, actor), at)
                else:
                    await self._record_consent(seat, decision, method, read, actor, vouched)
                await self._follow_consent(decision, at)
                ack = Ack(self.view.state, ms_of(at), self.record.seq)
                await self._acks.keep(actor.name, message_id, action, ack)
        except Overloaded:
            if shuts and seat.consent not in NO:
                self._noes[participant_id] = Answer(decision, method, self._read(seat, text_version), actor)
            raise
        finally:
            self._withdrawing[participant_id] -= shuts
            self._apply_gates(self._now_sample())
        if self.view.state is CaptureState.FINISHED and destroy and self.record.withdrawn_by is not None:
            await self._destroy_ended()
        await self.lobby.send_roster(self.bot_seat())
        await self._tell_state()
        return ack

    async def _takes_back(self, seat: Seat, decision: ConsentState) -> bool:
        """Whether what somebody says after the recording destroys it: nothing else is left that it could stop."""
        if decision is not ConsentState.REVOKED and not (decision in NO and seat.consent is ConsentState.GRANTED):
            return False
        given = await self._store.consents(self.session_id)
        theirs = [one for one in given if one.participant_id == seat.member.participant_id]
        return self.record.withdrawn_by is None and agreed(theirs)

    async def _follow_consent(self, decision: ConsentState, at: int) -> None:
        """Let capture follow an answer that is recorded. What the database does not take of it now comes later."""
        self._unfollowed = decision
        try:
            await self._after_consent(decision, at)
        except Overloaded as error:
            self._on_fault(warning_of(error))
        else:
            self._unfollowed = None

    async def _after_consent(self, decision: ConsentState, at: int) -> None:
        waits = self.view.state in {CaptureState.CONSENT_PENDING, CaptureState.PAUSED} and self._untouched
        if waits and self._refused():
            await self._call_off(at, None, EndReason.CONSENT_DECLINED)
            return
        await self._resettle(at if decision in NO else None)

    def _refused(self) -> bool:
        """True when the client said no, of several everybody, or everybody here has answered and a no is among it."""
        seats = self.lobby.seats.values()
        clients = [s for s in seats if s.member.role is Role.CLIENT]
        asked = clients or [s for s in seats if s.member.role in CLIENT_SIDE]
        if all(s.consent in NO for s in asked):
            return True
        here = {s.consent for s in seats if s.present}
        return here <= NO | {ConsentState.GRANTED} and bool(here & NO) and not self._consented()

    async def _expire_due(self) -> None:
        """Let every grant run out whose end has come."""
        for participant_id, seat in list(self.lobby.seats.items()):
            if self._ran_out(seat) and participant_id not in self._noes and self.view.state not in OVER:
                await self.expire(participant_id)

    async def expire(self, participant_id: str) -> None:
        """A grant that was on file with an end has come to it. What was said before stays; they are asked anew."""
        seat = self.lobby.seat(participant_id)
        system, at = Actor(ActorKind.SYSTEM, self.record.clinic_id), self._now_sample()
        self._withdrawing[participant_id] += 1
        try:
            self._apply_gates(at)
            async with self._lock:
                if seat.consent is not ConsentState.GRANTED:
                    return
                await self._record_consent(seat, ConsentState.EXPIRED, ON_FILE, Read(), system)
                if seat.present and self.media is not None:
                    await self._ask(seat)
                await self._resettle()
        except Overloaded:
            if seat.consent is ConsentState.GRANTED:
                self._noes[participant_id] = Answer(ConsentState.EXPIRED, ON_FILE, Read(), system)
            raise
        finally:
            self._withdrawing[participant_id] -= 1
            self._apply_gates(self._now_sample())
        await self.lobby.send_roster(self.bot_seat())
        await self._tell_state()

    async def _catch_up(self) -> None:
        """Record what the database did not take when it happened: answers, what follows from them, a pause."""
        for participant_id in list(self._noes):
            async with self._lock:
                answer = self._noes.get(participant_id)
                if answer is None:
                    continue
                seat = self.lobby.seat(participant_id)
                decision = _as_it_is(seat.consent, answer.decision)
                await self._record_consent(seat, decision, answer.method, answer.read, answer.actor)
                await self._follow_consent(decision, self._now_sample())
            await self._tell_state()
        if self._unfollowed is not None:
            async with self._lock:
                await self._follow_consent(self._unfollowed, self._now_sample())
            await self._tell_state()
        if self._unrecorded:
            async with self._lock:
                if self._unrecorded:
                    await self._move(self.view, self._since_sample, None)
            await self._tell_state()


def _as_it_is(now: ConsentState, said: ConsentState) -> ConsentState:
    """A no is a no, whichever word it came with: it takes back what was given, and declines what was only asked."""
    match said, now:
        case ConsentState.DECLINED, ConsentState.GRANTED:
            return ConsentState.REVOKED
        case ConsentState.REVOKED, ConsentState.UNKNOWN | ConsentState.REQUESTED | ConsentState.EXPIRED:
            return ConsentState.DECLINED
        case ((ConsentState.DECLINED | ConsentState.REVOKED), (ConsentState.DECLINED | ConsentState.REVOKED)):
            return now
    return said
