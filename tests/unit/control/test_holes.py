"""What the transcript says of stretches in which somebody was not captured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bot.control.holes import Absence, Withheld, pieces
from bot.events import AudioFrame, Gap, GapReason, GateState

SECOND = 16_000


def frame(start_s: float, *, lost_s: float = 0.0) -> AudioFrame:
    return AudioFrame("lane", int(start_s * SECOND), np.zeros(960, np.int16), int(lost_s * SECOND))


def absent(start_ms: int, end_ms: int) -> Gap:
    return Gap(start_ms, end_ms, GapReason.ABSENT, "robin")


def test_an_absence_that_goes_on_is_stated_from_the_same_moment() -> None:
    told: list[Gap] = []
    lane = Absence("robin", told.append)
    lane.turned(GateState.OPEN, 0)
    lane.so_far(SECOND // 2)
    assert not told, "too short to matter"
    lane.so_far(2 * SECOND)
    lane.so_far(3 * SECOND)
    lane.frame(frame(4), 3 * SECOND)
    lane.so_far(9 * SECOND)
    assert told == [absent(0, 2000), absent(0, 3000), absent(0, 4000)]


def test_an_absence_ends_with_the_gate() -> None:
    told: list[Gap] = []
    lane = Absence("robin", told.append)
    lane.turned(GateState.OPEN, 0)
    lane.frame(frame(0), 0)
    lane.began(SECOND)
    lane.turned(GateState.PAUSED, 5 * SECOND)
    lane.so_far(8 * SECOND)
    assert told == [absent(1000, 5000)]


def test_what_was_lost_counts_where_the_gate_was_open() -> None:
    told: list[Gap] = []
    lane = Absence("robin", told.append)
    lane.turned(GateState.OPEN, 0)
    lane.frame(frame(0), 0)
    lane.frame(frame(4, lost_s=2), SECOND)
    lane.turned(GateState.PAUSED, 5 * SECOND)
    lane.frame(frame(9, lost_s=2), 5 * SECOND)
    assert told == [Gap(2000, 4000, GapReason.LOST, "robin")]


def test_who_is_withheld_while_others_are_captured_is_stated_as_it_goes_on() -> None:
    told: list[Gap] = []
    held = Withheld(told.append)
    held.note({"ellis": GateState.OPEN, "kim": GateState.WITHHELD}, 0)
    held.so_far(2 * SECOND)
    held.note({"ellis": GateState.PAUSED, "kim": GateState.WITHHELD}, 3 * SECOND)
    held.so_far(9 * SECOND)
    assert told == [Gap(0, end_ms, GapReason.WITHHELD, "kim") for end_ms in (2000, 3000)]


def lost(start_ms: int, end_ms: int) -> Gap:
    return Gap(start_ms, end_ms, GapReason.LOST, "robin")


def in_a_hole_from(second: int, told: list[Gap]) -> Absence:
    lane = Absence("robin", told.append)
    lane.turned(GateState.OPEN, 0)
    lane.frame(frame(0), 0)
    lane.began(second * SECOND)
    return lane


def test_what_comes_too_late_was_lost_and_not_absent() -> None:
    told: list[Gap] = []
    lane = in_a_hole_from(1, told)
    lane.so_far(3 * SECOND)
    for late in range(1, 3):
        lane.rebooked(late * SECOND, (late + 1) * SECOND)
        lane.frame(frame(late), 3 * SECOND)
    lane.frame(frame(3), 3 * SECOND)
    assert told == [absent(1000, 3000), lost(1000, 3000)]


def test_missing_numbers_make_the_hole_before_them_a_loss() -> None:
    told: list[Gap] = []
    lane = in_a_hole_from(1, told)
    lane.rebooked(SECOND, 30 * SECOND)
    lane.frame(frame(31, lost_s=30), 30 * SECOND)
    assert told == [lost(1000, 31_000)]


def test_a_hole_of_both_is_stated_as_both() -> None:
    told: list[Gap] = []
    lane = in_a_hole_from(1, told)
    lane.rebooked(7 * SECOND, 10 * SECOND)
    lane.frame(frame(11, lost_s=4), 10 * SECOND)
    assert told == [absent(1000, 7000), lost(7000, 11_000)]


def test_what_was_lost_of_a_hole_that_ended_is_stated_once_it_is_known() -> None:
    told: list[Gap] = []
    lane = in_a_hole_from(1, told)
    lane.turned(GateState.PAUSED, 4 * SECOND)
    assert told == [absent(1000, 4000)]
    lane.rebooked(SECOND, 2 * SECOND)
    lane.rebooked(2 * SECOND, 4 * SECOND)
    lane.so_far(6 * SECOND)
    lane.so_far(7 * SECOND)
    assert told == [absent(1000, 4000), lost(1000, 4000)]


@given(
    st.integers(0, 5 * SECOND),
    st.integers(1, 20 * SECOND),
    st.lists(st.tuples(st.integers(0, 25 * SECOND), st.integers(1, 5 * SECOND)), max_size=6),
)
def test_the_pieces_of_a_hole_are_the_hole(start: int, length: int, late: list[tuple[int, int]]) -> None:
    found = pieces((start, start + length), [(low, low + size) for low, size in late])
    assert found[0][0] == start
    assert found[-1][1] == start + length
    for (_, end, reason), (begins, _, then) in pairwise(found):
        assert end == begins
        assert reason is not then
    assert len(found) == 1 or all(end - begins >= SECOND for begins, end, _ in found)
