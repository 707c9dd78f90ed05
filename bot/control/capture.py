"""Who may do what, and what each capture action does to the machine: both as plain data and pure functions.

The doors (HTTP, data channel, WebSocket) all end here, so an action means the same through each of them. Identity
comes from a verified token or key; nothing in a message can change it.

What an action does to capture is a table, :data:`DOES`. ``consent_pending`` becomes ``capturing`` by itself as soon as
everybody who must agree has agreed, at once if they already have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from bot.errors import ConfigInvalid, Forbidden, InvalidTransition
from bot.events import (
    CLIENT_SIDE,
    CaptureAction,
    CaptureState,
    ConsentState,
    GateState,
    PauseReason,
    Role,
)


class ActorKind(StrEnum):
    """By what kind of credentials somebody acts."""

    PLATFORM = "platform"
    """An API key, acting for the clinician it names."""
    USER = "user"
    """A person signed in to the pages."""
    PARTICIPANT = "participant"
    """A person in the call, by session token."""
    SYSTEM = "system"
    """Quietnote itself: time limits, an empty room."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, by verified credentials."""

    kind: ActorKind
    clinic_id: str
    role: Role | None = None
    participant_id: str | None = None
    user_id: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    at_their_page: frozenset[str] = frozenset()
    """Other named persons at this participant's page and microphone: they answer for themselves there."""

    @property
    def name(self) -> str:
        """An id for records: never a person's name."""
        who = self.participant_id or self.user_id
        if self.kind is ActorKind.PLATFORM and who is not None:
            return f"{self.kind.value}:{who}"  # on their behalf, and not by them
        return who or self.kind.value


@dataclass(frozen=True, slots=True)
class Ack:
    """What an action came to."""

    state: CaptureState
    effective_at_ms: int
    """Media time on the call's clock from which it holds. Of a pause: nothing later than this is kept."""
    seq: int


class Action(StrEnum):
    """Everything that is asked of a session, for the table below."""

    CAPTURE = "capture"
    ADMIT = "admit"
    DECLARE_SHARED = "declare_shared"
    GRANT = "grant"
    DECLINE = "decline"
    REVOKE = "revoke"
    DESTROY = "destroy"
    GET_COPY = "get_copy"
    ATTEST_ON_FILE = "attest_on_file"
    ATTEST_ALOUD = "attest_aloud"
    READ_CONSENT = "read_consent"
    READ_STATE = "read_state"
    READ_CAPTIONS = "read_captions"
    READ_TRANSCRIPT = "read_transcript"
    READ_NOTE = "read_note"
    ADD_INPUT = "add_input"
    READ_INPUTS = "read_inputs"
    WRITE_NOTE = "write_note"
    SIGN = "sign"


CLINICIAN = frozenset({Role.CLINICIAN})
EVERYBODY = frozenset(Role)

PARTICIPANT_MAY: Mapping[Action, frozenset[Role]] = {
    Action.CAPTURE: CLINICIAN,
    Action.ADMIT: CLINICIAN,
    Action.DECLARE_SHARED: CLINICIAN,
    Action.GRANT: EVERYBODY,  # one's own only
    Action.DECLINE: EVERYBODY,  # one's own only
    Action.REVOKE: EVERYBODY,  # one's own only
    Action.DESTROY: EVERYBODY,  # with one's own withdrawal only
    Action.GET_COPY: EVERYBODY,  # one's own only
    Action.ATTEST_ON_FILE: frozenset(),  # it is told when a session is made
    Action.ATTEST_ALOUD: CLINICIAN,  # somebody else's, where the clinic allows it
    Action.READ_CONSENT: EVERYBODY,  # others than clinicians their own only
    Action.READ_STATE: EVERYBODY,
    Action.READ_CAPTIONS: EVERYBODY,  # others than clinicians only where the clinic shows them
    Action.READ_TRANSCRIPT: CLINICIAN,
    Action.READ_NOTE: CLINICIAN,
    Action.ADD_INPUT: CLINICIAN,
    Action.READ_INPUTS: CLINICIAN,
    Action.WRITE_NOTE: CLINICIAN,
    Action.SIGN: CLINICIAN,
}
"""What a participant's session token allows, by role."""

PLATFORM_MAY = frozenset(
    {
        Action.CAPTURE,
        Action.ADMIT,
        Action.DECLARE_SHARED,
        Action.ATTEST_ON_FILE,  # for the clinician it names, where the clinic allows it
        Action.READ_CONSENT,
        Action.READ_STATE,
        Action.READ_CAPTIONS,
        Action.READ_TRANSCRIPT,
        Action.READ_NOTE,
        Action.ADD_INPUT,
        Action.READ_INPUTS,
        Action.WRITE_NOTE,
    }
)
"""What a platform's key allows. It never answers for a participant, and never signs."""

USER_MAY = PLATFORM_MAY | {Action.SIGN}
"""What a signed-in clinician may do to their own sessions."""

OWN_ONLY = frozenset({Action.GRANT, Action.DECLINE, Action.REVOKE, Action.DESTROY, Action.GET_COPY})


def permit(actor: Actor, action: Action, *, about: str | None = None) -> None:
    """Raise :class:`Forbidden` unless ``actor`` may do ``action`` (``about`` whom, for consent)."""
    match actor.kind:
        case ActorKind.SYSTEM:
            allowed = action in {Action.CAPTURE, Action.READ_STATE}
        case ActorKind.PLATFORM:
            allowed = action in PLATFORM_MAY
        case ActorKind.USER:
            allowed = action in USER_MAY and actor.role is Role.CLINICIAN
        case ActorKind.PARTICIPANT:
            allowed = actor.role in PARTICIPANT_MAY[action]
            own = about == actor.participant_id or about in actor.at_their_page
            if action in OWN_ONLY and not own:
                allowed = False
            if action is Action.ATTEST_ALOUD and own:
                allowed = False
            if action is Action.READ_CONSENT and not own and actor.role is not Role.CLINICIAN:
                allowed = False
    if not allowed:
        raise Forbidden("Your role does not allow this here.", action=action.value)


def consent_action(decision: ConsentState, *, aloud: bool, destroy: bool = False) -> Action:
    """What an answer asks for; ``aloud``: somebody else's, attested; ``destroy``: with what there is."""
    if destroy:
        if decision is not ConsentState.REVOKED or aloud:
            raise ConfigInvalid("destroy: only who withdraws can have what was recorded destroyed.")
        return Action.DESTROY
    if aloud:
        if decision is not ConsentState.GRANTED:
            raise ConfigInvalid("decision: only a yes can be attested; a no is anybody's own.")
        return Action.ATTEST_ALOUD
    return {
        ConsentState.GRANTED: Action.GRANT,
        ConsentState.DECLINED: Action.DECLINE,
        ConsentState.REVOKED: Action.REVOKE,
    }[decision]


@dataclass(frozen=True, slots=True)
class Presence:
    """One participant as the consent rule sees them."""

    participant_id: str
    role: Role
    present: bool
    """In the room now, admitted."""
    consent: ConsentState


@dataclass(frozen=True, slots=True)
class CaptureView:
    """The capture machine's whole state: its word, and what holds it back."""

    state: CaptureState
    reasons: frozenset[PauseReason] = frozenset()


def consent_holds(people: list[Presence], *, pause_all: bool) -> bool:
    """True when capture may run: the client has agreed, and under ``pause_all`` everybody present has.

    While the only client has not agreed nothing is captured, here or not, whatever a guardian says, and the clinician's
    own lane included: a paraphrase is a record too. Of several clients one who is here must have agreed. A guardian
    answers for a client only where no client is invited. A clinician agrees by pressing Start, another one is asked.
    Of those who share a microphone each counts as having agreed once all of them have.
    """
    clients = [p for p in people if p.role is Role.CLIENT] or [p for p in people if p.role in CLIENT_SIDE]
    here = [p for p in clients if p.present] if len(clients) > 1 else clients
    if not any(p.consent is ConsentState.GRANTED for p in here or clients):
        return False
    if not pause_all:
        return True
    return all(p.consent is ConsentState.GRANTED for p in people if p.present)


class Effect(Enum):
    """What an action does to the machine of capture."""

    BEGIN = auto()
    """Ask those who must agree; capture begins when they have."""
    HOLD = auto()
    """Add the clinician's reason to pause."""
    LIFT = auto()
    """Take the clinician's reason away, and no other; not possible without it."""
    FINISH = auto()
    DISCARD = auto()


S, E = CaptureState, Effect
DOES: Mapping[CaptureAction, Mapping[CaptureState, Effect]] = {
    CaptureAction.START: {
        S.OFF: E.BEGIN,
        S.FINISHED: E.BEGIN,  # another part of the session, where one may begin
    },
    CaptureAction.PAUSE: {S.CONSENT_PENDING: E.HOLD, S.CAPTURING: E.HOLD, S.PAUSED: E.HOLD},
    CaptureAction.RESUME: {S.PAUSED: E.LIFT},
    CaptureAction.FINISH: {
        S.CONSENT_PENDING: E.FINISH,
        S.CAPTURING: E.FINISH,
        S.PAUSED: E.FINISH,
        S.FINISHED: E.FINISH,  # again: the same answer, nothing changes
    },
    CaptureAction.DISCARD: {
        S.CONSENT_PENDING: E.DISCARD,
        S.CAPTURING: E.DISCARD,
        S.PAUSED: E.DISCARD,
        S.DISCARDED: E.DISCARD,  # again
    },
}
"""What each action does, by the state it finds; what is not here is :class:`InvalidTransition`, and nothing changes."""


def apply(view: CaptureView, action: CaptureAction, *, consented: bool) -> CaptureView:
    """What ``action`` makes of ``view``, by :data:`DOES`. Raises :class:`InvalidTransition`."""
    match DOES[action].get(view.state):
        case Effect.BEGIN:
            return settle(CaptureView(CaptureState.CONSENT_PENDING), consented=consented)
        case Effect.HOLD:
            return hold(view, PauseReason.CLINICIAN)
        case Effect.LIFT if PauseReason.CLINICIAN in view.reasons:
            return lift(view, PauseReason.CLINICIAN, consented=consented)
        case Effect.FINISH:
            return CaptureView(CaptureState.FINISHED)
        case Effect.DISCARD:
            return CaptureView(CaptureState.DISCARDED)
    raise InvalidTransition(f"{action.value} is not possible while {_spoken(view)}.", state=view.state.value)


def hold(view: CaptureView, reason: PauseReason) -> CaptureView:
    """Pause for one more reason. Waiting for consent turns into a pause that also waits for it."""
    waiting = {PauseReason.CONSENT} if view.state is CaptureState.CONSENT_PENDING else set()
    return CaptureView(CaptureState.PAUSED, view.reasons | waiting | {reason})


def lift(view: CaptureView, reason: PauseReason, *, consented: bool) -> CaptureView:
    """Take one reason away; whatever else holds capture back goes on holding it."""
    return settle(CaptureView(view.state, view.reasons - {reason}), consented=consented)


def settle(view: CaptureView, *, consented: bool) -> CaptureView:
    """Bring the consent reason up to date, and capture with it."""
    if view.state is CaptureState.CONSENT_PENDING:
        return CaptureView(CaptureState.CAPTURING) if consented else view
    if view.state not in {CaptureState.CAPTURING, CaptureState.PAUSED}:
        return view
    reasons = view.reasons - {PauseReason.CONSENT} if consented else view.reasons | {PauseReason.CONSENT}
    return CaptureView(CaptureState.PAUSED if reasons else CaptureState.CAPTURING, reasons)


def lane_gate(view: CaptureView, consent: ConsentState) -> GateState:
    """What the gate of one participant's lane does, from the machine and that person's own answer."""
    if view.state in {CaptureState.OFF, CaptureState.FINISHED, CaptureState.DISCARDED}:
        return GateState.OFF
    if consent is not ConsentState.GRANTED:
        return GateState.WITHHELD
    if view.state is CaptureState.CONSENT_PENDING:
        return GateState.OFF
    return GateState.OPEN if view.state is CaptureState.CAPTURING else GateState.PAUSED


def _spoken(view: CaptureView) -> str:
    return {
        CaptureState.OFF: "not recording",
        CaptureState.CONSENT_PENDING: "waiting for consent",
        CaptureState.CAPTURING: "recording",
        CaptureState.PAUSED: "paused" if PauseReason.CLINICIAN in view.reasons else "paused for another reason",
        CaptureState.FINISHED: "the session is finished",
        CaptureState.DISCARDED: "the session is discarded",
    }[view.state]
