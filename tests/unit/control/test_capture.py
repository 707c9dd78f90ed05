"""Who may do what, and what each action does: all combinations, and whatever order things happen in."""

from __future__ import annotations

from itertools import chain, combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.control.capture import (
    OWN_ONLY,
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
from bot.errors import Forbidden, InvalidTransition
from bot.events import CaptureAction, CaptureState, ConsentState, GateState, PauseReason, Role
from bot.machines import CAPTURE

A, S, R = CaptureAction, CaptureState, PauseReason
REASONS = [frozenset(c) for c in chain.from_iterable(combinations(PauseReason, n) for n in range(1, 5))]
VIEWS = [CaptureView(state) for state in S if state is not S.PAUSED] + [CaptureView(S.PAUSED, r) for r in REASONS]
"""Every state the machine can be in: paused is the one with reasons, and always has one."""


def paused(*reasons: PauseReason) -> CaptureView:
    return CaptureView(S.PAUSED, frozenset(reasons))


def lifted(reasons: frozenset[PauseReason], *, consented: bool) -> CaptureView:
    """What is left when the clinician no longer holds capture back."""
    left = reasons - {R.CLINICIAN}
    left = left - {R.CONSENT} if consented else left | {R.CONSENT}
    return paused(*left) if left else CaptureView(S.CAPTURING)


def expected(view: CaptureView, action: CaptureAction, *, consented: bool) -> CaptureView | None:
    """The table of :mod:`bot.control.capture`, written out a second time; None where it is refused."""
    match (action, view.state):
        case (A.START, S.OFF | S.FINISHED):  # after Finish: another part of the session
            return CaptureView(S.CAPTURING if consented else S.CONSENT_PENDING)
        case (A.RESUME, S.PAUSED) if R.CLINICIAN in view.reasons:
            return lifted(view.reasons, consented=consented)
        case (A.PAUSE, S.CONSENT_PENDING):
            return paused(R.CONSENT, R.CLINICIAN)
        case (A.PAUSE, S.CAPTURING | S.PAUSED):
            return paused(*view.reasons, R.CLINICIAN)
        case (A.FINISH, S.CONSENT_PENDING | S.CAPTURING | S.PAUSED | S.FINISHED):
            return CaptureView(S.FINISHED)
        case (A.DISCARD, S.CONSENT_PENDING | S.CAPTURING | S.PAUSED | S.DISCARDED):
            return CaptureView(S.DISCARDED)
    return None


@pytest.mark.parametrize("consented", [True, False])
@pytest.mark.parametrize("action", A)
def test_every_action_in_every_state(action: CaptureAction, *, consented: bool) -> None:
    for view in VIEWS:
        wanted = expected(view, action, consented=consented)
        if wanted is None:
            with pytest.raises(InvalidTransition) as refused:
                apply(view, action, consented=consented)
            assert refused.value.extra["state"] == view.state.value
        else:
            after = apply(view, action, consented=consented)
            assert after == wanted, (view, action)
            begins = action is A.START and view.state is S.FINISHED
            allowed = CAPTURE[S.OFF if begins else view.state]
            assert after.state is view.state or after.state in allowed, "the table of states allows it"


def test_pausing_twice_and_resuming_once_records() -> None:
    view = apply(CaptureView(S.CAPTURING), A.PAUSE, consented=True)
    assert apply(view, A.PAUSE, consented=True) == view
    assert apply(view, A.RESUME, consented=True) == CaptureView(S.CAPTURING)


@pytest.mark.parametrize(("mine", "other"), [pair for pair in product(PauseReason, repeat=2) if pair[0] is not pair[1]])
def test_lifting_one_reason_never_lifts_another(mine: PauseReason, other: PauseReason) -> None:
    consented = R.CONSENT not in {mine, other}
    view = lift(paused(mine, other), mine, consented=consented)
    assert view.state is S.PAUSED
    assert other in view.reasons


STEPS = st.one_of(
    st.tuples(st.just("apply"), st.sampled_from(A)),
    st.tuples(st.sampled_from(["hold", "lift"]), st.sampled_from([R.NETWORK, R.CLINICIAN_ABSENT])),
    st.tuples(st.just("consent"), st.booleans()),
)


@given(st.sampled_from(VIEWS), st.lists(STEPS, max_size=40))
def test_whatever_happens_reasons_are_held_apart(view: CaptureView, steps: list[tuple[str, object]]) -> None:
    consented = view.state in {S.CAPTURING, S.PAUSED} and R.CONSENT not in view.reasons
    wanted = set(view.reasons - {R.CONSENT})
    for kind, what in steps:
        running = view.state in {S.CAPTURING, S.PAUSED}
        if kind == "consent":
            consented = what is True
            view = settle(view, consented=consented)
        elif isinstance(what, CaptureAction):
            try:
                view = apply(view, what, consented=consented)
            except InvalidTransition:
                continue
            if what is A.PAUSE:
                wanted.add(R.CLINICIAN)
            elif what is A.RESUME:
                wanted.discard(R.CLINICIAN)
            else:
                wanted.clear()  # what begins anew, or has ended, is held back by nothing of before
        elif isinstance(what, PauseReason) and running:
            view = hold(view, what) if kind == "hold" else lift(view, what, consented=consented)
            wanted.add(what) if kind == "hold" else wanted.discard(what)
        assert (view.state is S.PAUSED) == bool(view.reasons)
        if view.state in {S.CAPTURING, S.PAUSED}:
            assert view.reasons - {R.CONSENT} == wanted, "each reason goes only when it is lifted itself"
        if view.state is S.CAPTURING:
            assert consented, "nothing is captured that was not agreed to"


@pytest.mark.parametrize("consent", ConsentState)
def test_only_a_granted_lane_of_a_running_capture_is_open(consent: ConsentState) -> None:
    for view in VIEWS:
        gate = lane_gate(view, consent)
        assert (gate is GateState.OPEN) == (view.state is S.CAPTURING and consent is ConsentState.GRANTED)
        if view.state in {S.OFF, S.FINISHED, S.DISCARDED}:
            assert gate is GateState.OFF
        elif consent is not ConsentState.GRANTED:
            assert gate is GateState.WITHHELD


def person(role: Role, consent: ConsentState, *, present: bool = True) -> Presence:
    return Presence(f"{role.value}-{consent.value}-{present}", role, present, consent)


YES, NO, ASKED = ConsentState.GRANTED, ConsentState.DECLINED, ConsentState.REQUESTED
DOCTOR = person(Role.CLINICIAN, YES)


@pytest.mark.parametrize("answer", [state for state in ConsentState if state is not YES])
@pytest.mark.parametrize("pause_all", [True, False])
def test_while_the_only_client_has_not_agreed_nothing_runs(answer: ConsentState, *, pause_all: bool) -> None:
    assert not consent_holds([DOCTOR, person(Role.CLIENT, answer)], pause_all=pause_all)
    assert not consent_holds([DOCTOR], pause_all=pause_all)
    assert not consent_holds([DOCTOR, person(Role.INTERPRETER, YES)], pause_all=pause_all), "no client has agreed"


def test_who_comes_late_pauses_everybody_or_only_themselves() -> None:
    people = [DOCTOR, person(Role.CLIENT, YES), person(Role.GUEST, ASKED)]
    assert not consent_holds(people, pause_all=True)
    assert consent_holds(people, pause_all=False)
    away = [DOCTOR, person(Role.CLIENT, YES), person(Role.GUEST, ASKED, present=False)]
    assert consent_holds(away, pause_all=True), "who is not in the room holds nobody up"
    assert consent_holds([DOCTOR, person(Role.GUARDIAN, YES)], pause_all=True), "a guardian answers for a client"


ALLOWED: dict[str, set[Action]] = {
    "system": {Action.CAPTURE, Action.READ_STATE},
    "platform": {
        Action.CAPTURE, Action.ADMIT, Action.DECLARE_SHARED,
        Action.READ_STATE, Action.READ_CAPTIONS, Action.READ_TRANSCRIPT,
        Action.READ_NOTE, Action.ADD_INPUT, Action.ATTEST_ON_FILE, Action.READ_CONSENT,
        Action.READ_INPUTS, Action.WRITE_NOTE,
    },
    "clinician user": set(Action) - OWN_ONLY - {Action.ATTEST_ALOUD},
    "clinician": set(Action) - {Action.ATTEST_ON_FILE, Action.ATTEST_ALOUD},
    "client": {*OWN_ONLY, Action.READ_STATE, Action.READ_CAPTIONS, Action.READ_CONSENT},
}  # fmt: skip
ACTORS = {
    "system": Actor(ActorKind.SYSTEM, "c"),
    "platform": Actor(ActorKind.PLATFORM, "c", scopes=frozenset({"sessions", "notes", "admin"})),
    "clinician user": Actor(ActorKind.USER, "c", role=Role.CLINICIAN, user_id="usr_1"),
    "clinician": Actor(ActorKind.PARTICIPANT, "c", role=Role.CLINICIAN, participant_id="me"),
    "client": Actor(ActorKind.PARTICIPANT, "c", role=Role.CLIENT, participant_id="me"),
}


def may(actor: Actor, action: Action, about: str | None) -> bool:
    try:
        permit(actor, action, about=about)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize("who", ACTORS)
def test_who_may_do_what(who: str) -> None:
    assert {action for action in Action if may(ACTORS[who], action, "me")} == ALLOWED[who]


@pytest.mark.parametrize("role", Role)
def test_nobody_answers_for_somebody_else(role: Role) -> None:
    actor = Actor(ActorKind.PARTICIPANT, "c", role=role, participant_id="me")
    for action in OWN_ONLY:
        assert may(actor, action, "me")
        assert not may(actor, action, "somebody")
        assert not may(actor, action, None)


def test_who_shares_a_page_answers_there_and_nowhere_else() -> None:
    actor = Actor(
        ActorKind.PARTICIPANT, "c", role=Role.CLIENT, participant_id="me", at_their_page=frozenset({"beside me"})
    )
    for action in {*OWN_ONLY, Action.READ_CONSENT}:
        assert may(actor, action, "beside me")
        assert not may(actor, action, "somebody")
    for action in (Action.ATTEST_ALOUD, Action.ATTEST_ON_FILE, Action.DECLARE_SHARED):
        assert not may(actor, action, "beside me")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CLINICIAN])
def test_only_clinicians_conduct_and_read(role: Role) -> None:
    actor = Actor(ActorKind.PARTICIPANT, "c", role=role, participant_id="me")
    assert {a for a in Action if may(actor, a, "me")} == ALLOWED["client"]
    user = Actor(ActorKind.USER, "c", role=role, user_id="usr_1")
    assert not any(may(user, action, None) for action in Action)


@pytest.mark.parametrize("who", ACTORS)
def test_of_somebody_else_a_clinician_in_the_call_attests_and_reads_and_a_client_does_neither(who: str) -> None:
    allowed = {action for action in Action if may(ACTORS[who], action, "somebody")}
    assert (Action.ATTEST_ALOUD in allowed) is (who == "clinician")
    assert (Action.READ_CONSENT in allowed) is (who not in {"client", "system"})
    assert not allowed & OWN_ONLY


def test_records_name_ids() -> None:
    assert ACTORS["client"].name == "me"
    assert ACTORS["clinician user"].name == "usr_1"
    assert ACTORS["system"].name == "system"
