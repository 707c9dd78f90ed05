"""A session's state, its gates and its record, moved together: the gates first.

What was asked to be shut is shut before anything is awaited; what is written to the database afterwards only records
it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from bot.control import watch
from bot.control.attesting import ASKED, ran_out
from bot.control.botrun import BotRun
from bot.control.capture import (
    Actor,
    ActorKind,
    CaptureView,
    Presence,
    consent_holds,
    hold,
    lane_gate,
    settle,
)
from bot.control.keeping import warning_of
from bot.control.leaving import Elapsed
from bot.control.lobby import Lobby, Seat
from bot.control.stage import LiveServices
from bot.control.wording import Read, start_text
from bot.errors import Overloaded, QuietnoteError
from bot.events import (
    CLIENT_SIDE,
    AudioState,
    CaptureState,
    ConsentState,
    Gap,
    GapReason,
    GateState,
    PauseReason,
    TranscriptState,
    ms_of,
)
from bot.store.parts import STARTED
from bot.store.records import Attestation
from bot.store.sessions import SessionRecord

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody answered, and how."""

    decision: ConsentState
    method: str
    read: Read
    actor: Actor


class Moves(BotRun):
    """A session whose capture can move."""

    _unrecorded = False
    """Recording is held, and the database does not know it yet."""
    _held_for: frozenset[PauseReason] = frozenset()
    """What held this pause before, of all that did."""
    _began_ms: int | None = None
    """When this part of the session was captured first; None where an earlier process knew."""
    _asked_s: float | None = None
    """When this process was asked to record, or took a recording up again; monotonic."""
    _shutting = 0
    """Pauses and ends that were asked for and are not recorded yet: gates stay shut, whatever else happens."""

    def __init__(self, services: LiveServices, record: SessionRecord, lobby: Lobby) -> None:
        super().__init__(services, record, lobby)
        self._withdrawing: Counter[str] = Counter()
        """Who said no, or took their yes back, which is not recorded yet."""
        self._joining_in: Counter[str] = Counter()
        """At whose microphone somebody else was declared to sit, which is not recorded yet."""
        self._noes: dict[str, Answer] = {}
        """Answers of these people that the database did not take: they hold, and are recorded when it does."""

    def _gates(self, view: CaptureView) -> dict[str, GateState]:
        """What was asked to be shut is shut before it is recorded, and cannot be opened until it is."""
        if self._shutting and view.state is CaptureState.CAPTURING:
            view = hold(view, PauseReason.CLINICIAN)
        ran_out = any(self._ran_out(seat) for seat in self.lobby.seats.values())
        shut = self._withdrawing.total() or self._joining_in.total() or self._noes or ran_out
        if shut and not self._consented():
            view = settle(view, consented=False)
        lanes = {pid: seat for pid, seat in self.lobby.seats.items() if seat.host is None}
        return {pid: lane_gate(view, self._consent_of(seat)) for pid, seat in lanes.items()}

    def _consent_of(self, seat: Seat) -> ConsentState:
        """Theirs, or at a shared microphone the first answer there that is no yes: no sound of it is one person's."""
        there = self.lobby.at_microphone(seat)
        if self._joining_in[there[0].member.participant_id]:
            return ConsentState.REQUESTED
        answers = [self._own_consent_of(one) for one in there]
        return next((one for one in answers if one is not ConsentState.GRANTED), ConsentState.GRANTED)

    def _own_consent_of(self, seat: Seat) -> ConsentState:
        who = seat.member.participant_id
        if self._withdrawing[who] or who in self._noes:
            return ConsentState.REVOKED
        return ConsentState.EXPIRED if self._ran_out(seat) else seat.consent

    def _ran_out(self, seat: Seat) -> bool:
        return ran_out(seat, self._clock.now())

    def _consented(self) -> bool:
        people = [
            Presence(s.member.participant_id, s.member.role, s.present, self._consent_of(s))
            for s in self.lobby.seats.values()
        ]
        if self._untouched and not any(p.present and _agreed(p) for p in people):
            return False  # the first sample waits until somebody who agreed is in the room themselves
        return consent_holds(people, pause_all=self.config.consent.late_joiner == "pause_all")

    @property
    def _untouched(self) -> bool:
        """Nothing was captured yet, in this part of the session or in the one that begins."""
        return self.record.audio is AudioState.ABSENT or self.record.capture is CaptureState.FINISHED

    async def _resettle(self, at: int | None = None) -> None:
        """Let capture follow consent, from a moment on for which the gates are set already, or from now on."""
        after = self._held_by_absence(settle(self.view, consented=self._consented()))
        if after != self.view:
            await self._move(after, self._now_sample() if at is None else at, None)

    def _held_by_absence(self, after: CaptureView) -> CaptureView:
        """What is about to begin waits for those who have been away for too long already."""
        runs = self.view.state in {CaptureState.CAPTURING, CaptureState.PAUSED}
        if runs or after.state is not CaptureState.CAPTURING:
            return after
        now_s = self._clock.monotonic_s()
        since = Elapsed(asked_s=now_s - self._asked_s if self._asked_s is not None else 0.0)
        verdict = watch.judge(after, self.lobby, self.config.capture, since, now_s=now_s)
        for reason in verdict.hold if isinstance(verdict, watch.Verdict) else ():
            after = hold(after, reason)
        return after

    async def _move(self, after: CaptureView, at: int, actor: Actor | None) -> None:
        """Make ``after`` the state. What shuts gates shuts them before it is recorded, what opens them after it.

        A failed record never opens a gate again. While it fails, recording is held: every page is told so, and the same
        action again records it.
        """
        before, opens = self.view, after.state is CaptureState.CAPTURING
        if not opens:
            self.view = after
            self._apply_gates(at)
        kind, columns = self._change_of(after)
        try:
            self.record = await self._store.record_capture(
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
            if _shuts(before, after):
                self._hold_unrecorded(before, after, at)
                raise Overloaded("The change could not be stored; recording is held.") from None
            self.view = before
            self._apply_gates(self._now_sample())
            raise Overloaded("The change could not be stored.") from None
        if opens:
            self.view = after
            at = self._apply_gates(self._now_sample())  # sound that came meanwhile was not kept
        if kind == STARTED:
            self._began_ms = ms_of(at)
        self._unrecorded = False
        self._control_seq = self.record.seq
        if before.state is CaptureState.PAUSED:
            self._held_for |= before.reasons
        if before.state is not after.state:
            since, self._since_sample = self._since_sample, at
            reasons, self._held_for = self._held_for, frozenset()
            if before.state is CaptureState.PAUSED and after.state is not CaptureState.DISCARDED:
                await self._state_gap(Gap(ms_of(since), ms_of(at), GapReason.PAUSED, None, tuple(sorted(reasons))))
        if kind == STARTED and self.record.part > 1:
            await self._state_between(ms_of(at))

    async def _state_between(self, at_ms: int) -> None:
        try:
            await self._store.between_ended(self.session_id, at_ms)
        except Overloaded as error:  # it stands all the same, up to where this was recorded
            self._on_fault(warning_of(error))

    async def _state_gap(self, gap: Gap) -> None:
        """State a pause that is over. That it cannot be stored now does not undo what ended it."""
        try:
            await self._store.add_gap(self.session_id, gap)
        except Overloaded as error:
            self._on_fault(warning_of(error))
            if self.media is not None:
                self.media.keep_gap(gap)

    def _hold_unrecorded(self, before: CaptureView, after: CaptureView, at: int) -> None:
        """What was asked to be shut is shut from ``at`` on at the latest, though the database does not know it yet."""
        kept = before.state is CaptureState.PAUSED and after.state is CaptureState.PAUSED
        asked = after.reasons if kept or after.reasons == {PauseReason.STORAGE} else {PauseReason.CLINICIAN}
        self.view = before
        for reason in asked:
            self.view = hold(self.view, reason)
        self._unrecorded = True
        if before.state is not CaptureState.PAUSED:
            self._since_sample = at
        self._spawn(self._tell_state(), "held")

    def _change_of(self, after: CaptureView) -> tuple[str, dict[str, Any]]:
        """The event's name and the columns that go with a move of the capture machine."""
        record, now = self.record, self._clock.now()
        match after.state:
            case CaptureState.CAPTURING if self._untouched:
                begun = {"captured_from": record.captured_from or now, "failure_slug": None}
                over = dict.fromkeys(("ended_at", "purge_at", "erase_by"))  # of an earlier part's end
                return STARTED, {"audio": AudioState.HELD, "transcript": TranscriptState.LIVE, **begun, **over}
            case CaptureState.CAPTURING:
                return "capture.resumed", {}
            case CaptureState.PAUSED:
                return "capture.paused", {}
            case CaptureState.FINISHED if record.part > 1 and self._untouched:
                return "capture.finished", {}  # nothing was added: everything is as the part before left it
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

    def _read(self, seat: Seat, text_version: str) -> Read:
        """What they read of that version; without one, nothing that is known."""
        text = self.consent_text(seat)
        return text.read if text_version == text.version else Read(text_version)

    async def _record_consent(
        self,
        seat: Seat,
        decision: ConsentState,
        method: str,
        read: Read,
        actor: Actor,
        attestation: Attestation | None = None,
    ) -> None:
        """Record an answer; it takes the place of one that could not be recorded before."""
        self.record = await self._store.record_consent(
            self.session_id,
            seat.member.participant_id,
            decision,
            method=method,
            text_version=read.version,
            text_sha256=read.sha256,
            language=read.language,
            text=self._text_read(seat, read) if decision is ConsentState.GRANTED else "",
            by=actor.name,
            attestation=attestation,
        )
        if seat.consent is not decision:
            seat.consent, seat.attestation = decision, attestation
        if decision is not ConsentState.REQUESTED:
            self._noes.pop(seat.member.participant_id, None)
        self._control_seq = self.record.seq

    def _text_read(self, seat: Seat, read: Read) -> str:
        """What they read, word for word, to be kept for their copy; empty where it is no text of ours."""
        shown = (self.consent_text(seat), start_text())
        return next((text.text for text in shown if text.read == read), "")

    async def _ask(self, seat: Seat) -> None:
        system = Actor(ActorKind.SYSTEM, self.record.clinic_id)
        await self._record_consent(seat, ConsentState.REQUESTED, ASKED, self.consent_text(seat).read, system)

    async def refresh(self) -> None:
        """Take up what the workflow changed, and tell the pages."""
        self.record = await self._store.get(self.session_id)
        await self._tell_state()


def _shuts(before: CaptureView, after: CaptureView) -> bool:
    """What it asks for is that nothing is captured, now or as soon as something else holds capture back no more."""
    match before.state:
        case CaptureState.CAPTURING:
            return True
        case CaptureState.PAUSED if after.state is CaptureState.PAUSED:
            return not after.reasons < before.reasons
        case CaptureState.PAUSED | CaptureState.CONSENT_PENDING:
            return after.state not in {CaptureState.CAPTURING, CaptureState.OFF}
        case _:
            return False


def _agreed(person: Presence) -> bool:
    """A client, or who answers for one, who has agreed."""
    return person.role in CLIENT_SIDE and person.consent is ConsentState.GRANTED
