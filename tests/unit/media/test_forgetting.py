"""How long sound is kept, as figures: what counts, from when to when."""

from __future__ import annotations

from bot.media.forgetting import REMEMBERED, Forgetting, LaneAges

SECOND = 16_000


def test_nothing_yet_is_nothing() -> None:
    figures = Forgetting()
    assert (figures.count, figures.delay_s(95), figures.half_life_s) == (0, 0.0, 0.0)


def test_a_window_counts_when_its_last_sample_is_gone() -> None:
    figures = Forgetting()
    ages = LaneAges(figures)
    ages.captured(0, 4 * SECOND)
    ages.captured(4 * SECOND, 8 * SECOND)
    ages.committed(3 * SECOND, at=5 * SECOND)
    ages.destroyed(2 * SECOND, now=5 * SECOND)
    assert figures.count == 0, "its end is still there"
    ages.destroyed(3 * SECOND, now=7 * SECOND)
    assert (figures.count, figures.delay_s(50)) == (1, 2.0)
    ages.destroyed(8 * SECOND, now=9 * SECOND)
    assert figures.count == 1, "the rest was silence"


def test_the_half_life_is_that_of_samples_not_of_erasures() -> None:
    figures = Forgetting()
    ages = LaneAges(figures)
    ages.captured(0, 10 * SECOND)
    ages.destroyed(8 * SECOND, now=8 * SECOND)  # eight seconds, half a second to seven and a half old
    assert figures.half_life_s == 3.5
    ages.destroyed(10 * SECOND, now=100 * SECOND)
    assert figures.half_life_s == 4.5
    figures.clear()
    assert figures.half_life_s == 0.0


def test_what_is_thrown_away_is_no_promise() -> None:
    figures = Forgetting()
    ages = LaneAges(figures)
    ages.captured(0, SECOND)
    ages.committed(SECOND, at=SECOND)
    ages.discarded()
    ages.destroyed(SECOND, now=9 * SECOND)
    assert (figures.count, figures.half_life_s) == (0, 0.0)


def test_the_figures_are_of_the_latest_windows() -> None:
    figures = Forgetting()
    for _ in range(REMEMBERED):
        figures.window(0, 9 * SECOND)
    for _ in range(REMEMBERED):
        figures.window(0, SECOND)
    assert (figures.count, figures.delay_s(95)) == (REMEMBERED, 1.0)
