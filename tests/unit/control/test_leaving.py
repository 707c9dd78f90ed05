"""When a recording ends by itself, and what is told before."""

from __future__ import annotations

import pytest

from bot.clinics import CapturePolicy
from bot.control.leaving import ALONE, NOW, SILENCE, SOON, Elapsed, end_of, told_before
from bot.control.lobby import Seat
from bot.events import CaptureState, EndReason, Role
from tests.unit.control.rooms import Page, seat

POLICY = CapturePolicy(max_duration_min=60, alone_s=120, one_sided_s=600, silence_min=30)
NOW_S = 10_000.0
UNDER_WAY = (CaptureState.CAPTURING, CaptureState.PAUSED)
BEFORE_ANY = CaptureState.CONSENT_PENDING


def here(who: str, role: Role = Role.CLIENT) -> Seat:
    return seat(who, role, admitted=True, page=Page())


def gone(who: str, role: Role = Role.CLIENT, *, since_s: float) -> Seat:
    return seat(who, role, admitted=True, left_at_s=NOW_S - since_s)


ELLIS, ROBIN = here("ellis", Role.CLINICIAN), here("robin")
BOTH = (ELLIS, ROBIN)


def what(
    *seats: Seat, state: CaptureState = CaptureState.CAPTURING, policy: CapturePolicy = POLICY, **since: float
) -> tuple[EndReason | None, set[str]]:
    elapsed = Elapsed(**since)
    told = told_before(state, seats, policy, elapsed, now_s=NOW_S)
    return end_of(state, seats, policy, elapsed, now_s=NOW_S), set(told)


@pytest.mark.parametrize("state", UNDER_WAY)
@pytest.mark.parametrize(
    ("minutes", "wanted"),
    [
        (54.9, (None, set())),
        (55, (None, {SOON})),
        (58.9, (None, {SOON})),
        (59, (None, {NOW})),
        (60, (EndReason.MAX_DURATION, {NOW})),
        (600, (EndReason.MAX_DURATION, {NOW})),
    ],
)
def test_a_call_that_is_too_long_is_told_of_twice(
    state: CaptureState, minutes: float, wanted: tuple[EndReason | None, set[str]]
) -> None:
    assert what(*BOTH, state=state, captured_s=minutes * 60) == wanted


def test_a_short_limit_is_told_of_from_the_beginning() -> None:
    assert what(*BOTH, policy=CapturePolicy(max_duration_min=3)) == (None, {SOON})


@pytest.mark.parametrize(
    ("minutes", "wanted"),
    [(28.9, (None, set())), (29, (None, {SILENCE})), (30, (EndReason.CALL_ENDED, {SILENCE}))],
)
def test_a_silence_is_told_of_and_ends_the_call(minutes: float, wanted: tuple[EndReason | None, set[str]]) -> None:
    assert what(*BOTH, quiet_s=minutes * 60) == wanted


@pytest.mark.parametrize(
    ("away_s", "wanted"), [(539, (None, set())), (540, (None, {ALONE})), (600, (EndReason.LEFT_ALONE, {ALONE}))]
)
@pytest.mark.parametrize(
    "left", [lambda s: (ELLIS, gone("robin", since_s=s)), lambda s: (gone("ellis", Role.CLINICIAN, since_s=s), ROBIN)]
)
def test_a_side_that_does_not_come_back_ends_it(left: object, away_s: float, wanted: object) -> None:
    assert callable(left)
    assert what(*left(away_s)) == wanted


def test_one_person_of_a_side_is_enough() -> None:
    assert what(ELLIS, gone("robin", since_s=9000), here("sam", Role.GUARDIAN)) == (None, set())
    assert what(ELLIS, gone("robin", since_s=9000), here("kim", Role.INTERPRETER))[0] is EndReason.LEFT_ALONE


def test_who_never_came_is_missed_from_start_on() -> None:
    never = seat("ellis", Role.CLINICIAN, admitted=True)
    assert what(never, ROBIN, asked_s=539) == (None, set())
    assert what(never, ROBIN, asked_s=600) == (EndReason.LEFT_ALONE, {ALONE})


def test_who_waits_to_be_let_in_again_is_not_there() -> None:
    waiting = seat("robin", page=Page(), left_at_s=NOW_S - 600)
    assert what(ELLIS, waiting)[0] is EndReason.LEFT_ALONE


def test_a_side_is_given_no_less_than_an_empty_room() -> None:
    patient = CapturePolicy(alone_s=3600, one_sided_s=600)
    assert what(ELLIS, gone("robin", since_s=3500), policy=patient)[0] is None
    assert what(ELLIS, gone("robin", since_s=3600), policy=patient)[0] is EndReason.LEFT_ALONE


@pytest.mark.parametrize("state", [*UNDER_WAY, BEFORE_ANY])
@pytest.mark.parametrize(("away_s", "wanted"), [(119, None), (120, EndReason.LEFT_ALONE)])
def test_an_empty_room_ends_it(state: CaptureState, away_s: float, wanted: EndReason | None) -> None:
    both = (gone("ellis", Role.CLINICIAN, since_s=200), gone("robin", since_s=away_s))
    assert what(*both, state=state) == (wanted, set())


def test_while_somebody_is_asked_only_an_empty_room_ends_the_waiting() -> None:
    assert what(ELLIS, gone("robin", since_s=9e3), state=BEFORE_ANY, captured_s=9e4, quiet_s=9e4) == (None, set())
