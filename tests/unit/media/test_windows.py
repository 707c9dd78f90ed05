"""Windows: onsets and endings kept, nothing twice, nothing lost, nothing across a boundary."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.events import BoundaryReason, CapturedAudio, LaneBoundary, Pcm, SpeechWindow, WindowEnd
from bot.media.windows import (
    END_SILENCE,
    FIRST,
    FRAME,
    GROWTH,
    MAX_WINDOW,
    PRE_ROLL,
    SPLIT_FROM,
    TRAIL,
    Windower,
)
from tests.unit.media.fakes import ScriptedVad

SECOND = 16_000


def sound(*parts: tuple[float, float]) -> Pcm:
    """(seconds, loudness) one after the other."""
    return np.concatenate([np.full(int(seconds * SECOND), loud, np.int16) for seconds, loud in parts])


class Cut:
    def __init__(self) -> None:
        self.sent: list[SpeechWindow] = []
        self.windower = Windower("lane", ScriptedVad(), self.sent.append)

    def hear(self, pcm: Pcm, start: int = 0, step: int = 960) -> Cut:
        for at in range(0, len(pcm), step):
            self.windower.captured(CapturedAudio("lane", start + at, pcm[at : at + step]))
        return self

    def end(self, at: int, reason: BoundaryReason = BoundaryReason.PAUSED) -> Cut:
        self.windower.boundary(LaneBoundary("lane", at, reason))
        return self

    @property
    def finals(self) -> list[SpeechWindow]:
        return [window for window in self.sent if window.final]


def test_one_utterance_keeps_its_quiet_beginning_and_end() -> None:
    cut = Cut().hear(sound((2, 0), (1, 1000), (2, 0)))
    (window,) = cut.finals
    onset, offset = 2 * SECOND, 3 * SECOND
    assert window.end is WindowEnd.SILENCE
    assert onset - PRE_ROLL - FRAME <= window.start_sample <= onset - PRE_ROLL + FRAME
    assert offset + TRAIL - FRAME <= window.end_sample <= offset + TRAIL + FRAME
    assert abs(window.speech_samples - SECOND) <= 2 * FRAME


def test_a_very_short_answer_makes_a_window() -> None:
    (window,) = Cut().hear(sound((1, 0), (0.1, 1000), (2, 0))).finals
    assert window.speech_samples >= 3 * FRAME


def test_a_click_does_not() -> None:
    assert not Cut().hear(sound((1, 0), (0.02, 1000), (2, 0))).sent


def test_hysteresis() -> None:
    # 300 -> 0.27: not enough to begin, enough to go on
    assert not Cut().hear(sound((1, 0), (3, 300), (2, 0))).sent
    (window,) = Cut().hear(sound((1, 0), (0.3, 1000), (3, 300), (2, 0))).finals
    assert window.end_sample > 4 * SECOND


def test_a_growing_window_is_sent_after_a_second_and_then_every_one_and_a_half() -> None:
    cut = Cut().hear(sound((1, 0), (6, 1000), (2, 0)))
    growing = [window for window in cut.sent if not window.final and not window.settled]
    assert len({window.window_id for window in cut.sent}) == 1
    assert 4 <= len(growing) <= 5
    lengths = [len(window.pcm) for window in growing]
    assert FIRST <= lengths[0] <= FIRST + 4 * FRAME
    assert all(GROWTH <= b - a <= GROWTH + 4 * FRAME for a, b in itertools.pairwise(lengths))
    assert cut.sent[-1].final


def test_a_speaker_who_falls_silent_makes_a_settled_window_which_is_the_finals_very_sound() -> None:
    cut = Cut().hear(sound((1, 0), (2, 1000), (0.7, 0), (1, 1000), (2, 0)))
    first, second = (window for window in cut.sent if window.settled)
    (final,) = cut.finals
    assert {first.window_id, second.window_id} == {final.window_id}
    assert not first.final
    assert len(first.pcm) < len(second.pcm)
    assert np.array_equal(second.pcm, final.pcm)
    assert second.speech_samples == final.speech_samples


def test_a_settled_window_that_a_pause_ends_is_the_finals_very_sound_too() -> None:
    spoken = sound((1, 0), (2, 1000), (0.7, 0))
    cut = Cut().hear(spoken).end(len(spoken), BoundaryReason.PAUSED)
    settled, final = cut.sent[-2:]
    assert settled.settled
    assert final.end is WindowEnd.BOUNDARY
    assert np.array_equal(settled.pcm, final.pcm)


def test_in_a_silence_nothing_but_the_settled_window_is_sent() -> None:
    # the second revision would be due in the silence
    cut = Cut().hear(sound((1, 0), (1.85, 1000), (2, 0)))
    assert [(window.settled, window.final) for window in cut.sent] == [(False, False), (True, False), (False, True)]


def test_two_utterances_share_no_sample() -> None:
    # the pre-roll of the second would reach into the first
    cut = Cut().hear(sound((1, 0), (1, 1000), (0.95, 0), (1, 1000), (2, 0)))
    first, second = cut.finals
    assert first.end_sample <= second.start_sample


def test_a_monologue_of_three_minutes_loses_nothing_and_repeats_nothing() -> None:
    rng = np.random.default_rng(3)
    pcm = rng.integers(600, 1000, 180 * SECOND).astype(np.int16)
    for second in range(7, 180, 6):  # short breaths, too short to end a window
        pcm[second * SECOND : second * SECOND + 2400] = 30
    cut = Cut().hear(pcm).end(len(pcm))
    windows = cut.finals
    assert all(window.end is WindowEnd.FORCED for window in windows[:-1])
    assert windows[-1].end is WindowEnd.BOUNDARY
    assert all(SPLIT_FROM <= len(window.pcm) <= MAX_WINDOW for window in windows[:-1])
    joined = np.concatenate([window.pcm for window in windows])
    assert windows[0].start_sample == 0
    assert all(a.end_sample == b.start_sample for a, b in itertools.pairwise(windows))
    assert np.array_equal(joined, pcm)
    # every split lies in a breath
    assert all(30 in window.pcm[-FRAME:] for window in windows[:-1])
    assert len({window.window_id for window in windows}) == len(windows)


def test_a_long_window_takes_a_shorter_silence() -> None:
    cut = Cut().hear(sound((13, 1000), (0.4, 0), (3, 1000)))
    assert [window.end for window in cut.finals] == [WindowEnd.SILENCE]


@pytest.mark.parametrize("reason", [r for r in BoundaryReason if r is not BoundaryReason.DISCARDED])
def test_a_boundary_ends_the_window_to_the_sample_and_nothing_crosses_it(reason: BoundaryReason) -> None:
    spoken = sound((1, 0), (1.003, 1000))
    cut = Cut().hear(spoken).end(len(spoken), reason)
    (window,) = cut.finals
    assert window.end is WindowEnd.BOUNDARY
    assert window.end_sample == len(spoken)
    again = len(spoken) + 5000
    cut.hear(sound((1, 1000), (2, 0)), start=again)
    assert cut.finals[1].start_sample == again


def test_discard_leaves_no_trace() -> None:
    cut = Cut().hear(sound((1, 0), (0.4, 1000))).end(100_000, BoundaryReason.DISCARDED)
    assert not cut.finals
    cut.hear(sound((3, 0)), start=100_000)
    assert not cut.finals
    assert cut.windower.speech + cut.windower.silence >= int(1.4 * SECOND)


def test_a_short_hole_is_filled_and_not_counted() -> None:
    cut = Cut()
    cut.hear(sound((1, 0), (0.96, 1000)))
    cut.hear(sound((0.96, 1000), (1, 0)), start=int(1.96 * SECOND) + 960)
    cut.end(10 * SECOND)
    (window,) = cut.finals
    assert cut.windower.speech + cut.windower.silence == int(3.92 * SECOND)
    hole = int(1.96 * SECOND) - window.start_sample
    assert not window.pcm[hole : hole + 960].any()
    assert window.pcm[hole + 960] == 1000


def test_needed_from() -> None:
    cut = Cut().hear(sound((5, 0)))
    assert 5 * SECOND - PRE_ROLL - 4 * FRAME <= cut.windower.needed_from <= 5 * SECOND - PRE_ROLL
    cut.hear(sound((3, 1000)), start=5 * SECOND)
    assert abs(cut.windower.needed_from - (5 * SECOND - PRE_ROLL)) <= 2 * FRAME
    cut.end(8 * SECOND)
    assert cut.windower.needed_from == 8 * SECOND


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 40_000), st.sampled_from([0, 0, 300, 1000]), st.sampled_from([0, 0, 0, 500, 960, 9000])
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(200, 5000),
)
def test_whatever_is_heard(parts: list[tuple[int, int, int]], step: int) -> None:
    """Random speech, silence and holes: counts add up, windows are in order, speech is in exactly one window."""
    cut = Cut()
    at, total = 0, 0
    heard: dict[int, int] = {}
    for length, loud, hole in parts:
        at += hole
        cut.hear(np.full(length, loud, np.int16), start=at, step=step)
        for sample in range(at, at + length, 97):
            heard[sample] = loud
        at, total = at + length, total + length
    cut.end(at)
    assert cut.windower.speech + cut.windower.silence == total
    finals = cut.finals
    assert all(a.end_sample <= b.start_sample for a, b in itertools.pairwise(finals))
    assert all(len(window.pcm) <= MAX_WINDOW + 4 * FRAME for window in finals)
    assert len({window.window_id for window in finals}) == len(finals)
    ids = [window.window_id for window in cut.sent if not window.final]
    assert set(ids) <= {window.window_id for window in finals}
    for window in finals:
        for sample, loud in heard.items():
            if window.start_sample <= sample < window.end_sample:
                assert window.pcm[sample - window.start_sample] == loud
    covered = sum(
        1
        for sample, loud in heard.items()
        if loud == 1000 and any(w.start_sample <= sample < w.end_sample for w in finals)
    )
    loud_samples = sum(1 for loud in heard.values() if loud == 1000)
    # only clicks shorter than four frames are left out
    assert loud_samples - covered <= 12 * (4 * FRAME // 97 + 2)
    assert END_SILENCE > TRAIL
