"""Time that counts a jump of the clock only once it has stood for a while."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.clock import ManualClock, SettledTime

DAY_S = 86_400.0


def test_time_that_runs_is_the_time() -> None:
    clock = ManualClock()
    time = SettledTime(clock)
    for seconds in (1, 60, DAY_S, 30 * DAY_S):  # looked at after however long
        clock.advance(seconds)
        assert time.now() == clock.now()
    clock.jump(20)  # as a clock is put right by a little
    assert time.now() == clock.now()


@pytest.mark.parametrize("by", [10 * DAY_S, -10 * DAY_S])
def test_a_jump_counts_once_it_has_stood(by: float) -> None:
    clock = ManualClock()
    time = SettledTime(clock)
    clock.jump(by)
    before = clock.now() - timedelta(seconds=by)
    for minute in range(10):
        assert time.now() == before + timedelta(minutes=minute)
        clock.advance(60)
    assert time.now() == clock.now()
    assert time.put_back == timedelta(seconds=max(-by, 0))
    clock.advance(1)
    assert time.now() == clock.now()


@pytest.mark.parametrize("by", [10 * DAY_S, -10 * DAY_S])
def test_a_jump_that_is_put_right_never_counts(by: float) -> None:
    clock = ManualClock()
    time = SettledTime(clock)
    clock.jump(by)
    time.now()
    clock.advance(300)
    clock.jump(-by)
    assert time.now() == clock.now()
    clock.jump(by)  # and the same again: it has to stand anew
    time.now()
    clock.advance(599)
    assert time.now() == clock.now() - timedelta(seconds=by)


def test_a_clock_that_keeps_jumping_never_counts() -> None:
    clock = ManualClock()
    time = SettledTime(clock)
    start = clock.now()
    for hop in range(30):
        clock.advance(60)
        clock.jump(DAY_S)
        assert time.now() == start + timedelta(minutes=hop + 1)
