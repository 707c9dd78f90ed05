"""What follows from who is there and for how long."""

from __future__ import annotations

import pytest

from bot.clinics import CapturePolicy
from bot.control.capture import CaptureView
from bot.control.lobby import Lobby, Seat
from bot.control.watch import Verdict, judge
from bot.events import CaptureState, EndReason, PauseReason, Role
from tests.unit.control.rooms import Page, seat

POLICY = CapturePolicy(max_duration_min=60, clinician_absent_s=10, alone_s=120)
CAPTURING = CaptureView(CaptureState.CAPTURING)
HELD = CaptureView(CaptureState.PAUSED, frozenset({PauseReason.CLINICIAN_ABSENT}))
PAUSED = CaptureView(CaptureState.PAUSED, frozenset({PauseReason.CLINICIAN}))
NOW = 1000.0


def here(who: str, role: Role = Role.CLIENT) -> Seat:
    return seat(who, role, admitted=True, page=Page())


def gone(who: str, role: Role = Role.CLIENT, *, since_s: float) -> Seat:
    return seat(who, role, admitted=True, left_at_s=NOW - since_s)


def verdict(view: CaptureView, *seats: Seat, call_ms: int = 0) -> Verdict | EndReason:
    return judge(view, Lobby(list(seats)), POLICY, now_s=NOW, call_ms=call_ms)


def test_while_both_are_there_nothing_happens() -> None:
    for view in (CAPTURING, PAUSED):
        assert verdict(view, here("ellis", Role.CLINICIAN), here("robin")) is Verdict.STAY


@pytest.mark.parametrize(("away_s", "wanted"), [(9.9, Verdict.STAY), (10.0, Verdict.HOLD), (60.0, Verdict.HOLD)])
def test_no_clinician_for_ten_seconds_holds(away_s: float, wanted: Verdict) -> None:
    assert verdict(CAPTURING, gone("ellis", Role.CLINICIAN, since_s=away_s), here("robin")) is wanted
    assert verdict(PAUSED, gone("ellis", Role.CLINICIAN, since_s=away_s), here("robin")) is wanted


def test_one_clinician_of_two_is_enough_and_the_last_to_go_counts() -> None:
    away = gone("ellis", Role.CLINICIAN, since_s=60)
    assert verdict(CAPTURING, away, here("kim", Role.CLINICIAN), here("robin")) is Verdict.STAY
    later = gone("kim", Role.CLINICIAN, since_s=3)
    assert verdict(CAPTURING, away, later, here("robin")) is Verdict.STAY


def test_it_is_held_once_and_lifted_on_return() -> None:
    assert verdict(HELD, gone("ellis", Role.CLINICIAN, since_s=60), here("robin")) is Verdict.STAY
    assert verdict(HELD, here("ellis", Role.CLINICIAN), here("robin")) is Verdict.LIFT


def test_a_clinician_who_was_never_there_is_not_missed() -> None:
    assert verdict(CAPTURING, seat("ellis", Role.CLINICIAN, admitted=True), here("robin")) is Verdict.STAY


@pytest.mark.parametrize(("away_s", "wanted"), [(119.0, Verdict.HOLD), (120.0, EndReason.LEFT_ALONE)])
def test_an_empty_room_ends_the_call(away_s: float, wanted: Verdict | EndReason) -> None:
    both = (gone("ellis", Role.CLINICIAN, since_s=300), gone("robin", since_s=away_s))
    assert verdict(CAPTURING, *both) is wanted
    assert verdict(HELD, *both) is (wanted if wanted is EndReason.LEFT_ALONE else Verdict.STAY)


def test_a_call_has_a_longest_duration_paused_or_not() -> None:
    people = (here("ellis", Role.CLINICIAN), here("robin"))
    assert verdict(CAPTURING, *people, call_ms=60 * 60_000 - 1) is Verdict.STAY
    for view in (CAPTURING, PAUSED):
        assert verdict(view, *people, call_ms=60 * 60_000) is EndReason.MAX_DURATION


@pytest.mark.parametrize("state", [s for s in CaptureState if s not in {CaptureState.CAPTURING, CaptureState.PAUSED}])
def test_what_is_not_captured_is_not_watched(state: CaptureState) -> None:
    both = (gone("ellis", Role.CLINICIAN, since_s=9000), gone("robin", since_s=9000))
    assert verdict(CaptureView(state), *both, call_ms=10**9) is Verdict.STAY
