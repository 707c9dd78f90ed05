"""What follows from who is there and for how long."""

from __future__ import annotations

import pytest

from bot.clinics import CapturePolicy
from bot.control.capture import CaptureView
from bot.control.leaving import Elapsed
from bot.control.lobby import Lobby, Seat
from bot.control.watch import STAY, UNDER_WAY, Verdict, judge
from bot.events import CaptureState, EndReason, PauseReason, Role
from tests.unit.control.rooms import Page, seat

POLICY = CapturePolicy(max_duration_min=60, clinician_absent_s=10, alone_s=120)
CAPTURING = CaptureView(CaptureState.CAPTURING)
HELD = CaptureView(CaptureState.PAUSED, frozenset({PauseReason.CLINICIAN_ABSENT}))
PAUSED = CaptureView(CaptureState.PAUSED, frozenset({PauseReason.CLINICIAN}))
NOW = 1000.0
HOLD = Verdict(hold=frozenset({PauseReason.CLINICIAN_ABSENT}))
LIFT = Verdict(lift=frozenset({PauseReason.CLINICIAN_ABSENT}))
HOLD_CLIENT = Verdict(hold=frozenset({PauseReason.CLIENT_ABSENT}))
HOLD_BOTH = Verdict(hold=frozenset({PauseReason.CLINICIAN_ABSENT, PauseReason.CLIENT_ABSENT}))


def here(who: str, role: Role = Role.CLIENT) -> Seat:
    return seat(who, role, admitted=True, page=Page())


def gone(who: str, role: Role = Role.CLIENT, *, since_s: float) -> Seat:
    return seat(who, role, admitted=True, left_at_s=NOW - since_s)


def verdict(view: CaptureView, *seats: Seat, call_ms: int = 0, asked_s: float = 0.0) -> Verdict | EndReason:
    return judge(view, Lobby(list(seats)), POLICY, Elapsed(call_ms / 1000, asked_s=asked_s), now_s=NOW)


def test_while_both_are_there_nothing_happens() -> None:
    for view in (CAPTURING, PAUSED):
        assert verdict(view, here("ellis", Role.CLINICIAN), here("robin")) == STAY


@pytest.mark.parametrize(("away_s", "wanted"), [(9.9, STAY), (10.0, HOLD), (60.0, HOLD)])
def test_no_clinician_for_ten_seconds_holds(away_s: float, wanted: Verdict) -> None:
    assert verdict(CAPTURING, gone("ellis", Role.CLINICIAN, since_s=away_s), here("robin")) == wanted
    assert verdict(PAUSED, gone("ellis", Role.CLINICIAN, since_s=away_s), here("robin")) == wanted


def test_one_clinician_of_two_is_enough_and_the_last_to_go_counts() -> None:
    away = gone("ellis", Role.CLINICIAN, since_s=60)
    assert verdict(CAPTURING, away, here("kim", Role.CLINICIAN), here("robin")) == STAY
    later = gone("kim", Role.CLINICIAN, since_s=3)
    assert verdict(CAPTURING, away, later, here("robin")) == STAY


def test_it_is_held_once_and_lifted_on_return() -> None:
    assert verdict(HELD, gone("ellis", Role.CLINICIAN, since_s=60), here("robin")) == STAY
    assert verdict(HELD, here("ellis", Role.CLINICIAN), here("robin")) == LIFT


@pytest.mark.parametrize(("asked_s", "wanted"), [(9.9, STAY), (10.0, HOLD)])
def test_a_clinician_who_never_came_is_missed_from_start_on(asked_s: float, wanted: Verdict) -> None:
    never = seat("ellis", Role.CLINICIAN, admitted=True)
    assert verdict(CAPTURING, never, here("robin"), asked_s=asked_s) == wanted


@pytest.mark.parametrize(("away_s", "wanted"), [(119.0, HOLD_BOTH), (120.0, EndReason.LEFT_ALONE)])
def test_an_empty_room_ends_the_call(away_s: float, wanted: Verdict | EndReason) -> None:
    both = (gone("ellis", Role.CLINICIAN, since_s=300), gone("robin", since_s=away_s))
    assert verdict(CAPTURING, *both) == wanted
    assert verdict(HELD, *both) == (wanted if wanted is EndReason.LEFT_ALONE else HOLD_CLIENT)


def test_a_call_has_a_longest_duration_paused_or_not() -> None:
    people = (here("ellis", Role.CLINICIAN), here("robin"))
    assert verdict(CAPTURING, *people, call_ms=60 * 60_000 - 1) == STAY
    for view in (CAPTURING, PAUSED):
        assert verdict(view, *people, call_ms=60 * 60_000) == EndReason.MAX_DURATION


@pytest.mark.parametrize("state", [s for s in CaptureState if s not in UNDER_WAY])
def test_what_is_not_captured_is_not_watched(state: CaptureState) -> None:
    both = (gone("ellis", Role.CLINICIAN, since_s=9000), gone("robin", since_s=9000))
    assert verdict(CaptureView(state), *both, call_ms=10**9) == STAY


def test_a_room_that_everybody_left_is_not_asked_for_ever() -> None:
    asking = CaptureView(CaptureState.CONSENT_PENDING)
    both = (gone("ellis", Role.CLINICIAN, since_s=9000), gone("robin", since_s=9000))
    assert verdict(asking, *both, call_ms=10**9) == EndReason.LEFT_ALONE
    assert verdict(asking, here("ellis", Role.CLINICIAN), gone("robin", since_s=9000), call_ms=10**9) == STAY


@pytest.mark.parametrize(("away_s", "wanted"), [(9.9, STAY), (10.0, HOLD_CLIENT), (60.0, HOLD_CLIENT)])
def test_nobody_on_the_clients_side_holds_too(away_s: float, wanted: Verdict) -> None:
    assert verdict(CAPTURING, here("ellis", Role.CLINICIAN), gone("robin", since_s=away_s)) == wanted
    interpreter = here("kim", Role.INTERPRETER)
    assert verdict(CAPTURING, here("ellis", Role.CLINICIAN), interpreter, gone("robin", since_s=away_s)) == wanted
    guardian = here("sam", Role.GUARDIAN)
    assert verdict(CAPTURING, here("ellis", Role.CLINICIAN), guardian, gone("robin", since_s=away_s)) == STAY


def test_both_sides_may_be_missed_and_come_back_each_by_itself() -> None:
    both = (gone("ellis", Role.CLINICIAN, since_s=20), gone("robin", since_s=20))
    missed = frozenset({PauseReason.CLINICIAN_ABSENT, PauseReason.CLIENT_ABSENT})
    assert verdict(CAPTURING, *both) == Verdict(hold=missed)
    held = CaptureView(CaptureState.PAUSED, missed)
    assert verdict(held, here("ellis", Role.CLINICIAN), gone("robin", since_s=20)) == LIFT
