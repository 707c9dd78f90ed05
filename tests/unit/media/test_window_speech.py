"""A window says where in it the VAD heard speech."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bot.events import BoundaryReason, CapturedAudio, LaneBoundary, Pcm, SpeechWindow
from bot.media.windows import FRAME, Windower
from tests.unit.media.fakes import ScriptedVad


def windows(pcm: Pcm, start: int = 0) -> list[SpeechWindow]:
    """All that are sent of a sound, growing ones too."""
    sent: list[SpeechWindow] = []
    cutter = Windower("l", ScriptedVad(), sent.append)
    for at in range(0, len(pcm), 960):
        cutter.captured(CapturedAudio("l", start + at, pcm[at : at + 960]))
    cutter.boundary(LaneBoundary("l", start + len(pcm), BoundaryReason.PAUSED))
    return sent


def frames(*counts: int) -> Pcm:
    """Silent and loud frames in turn."""
    return np.concatenate([np.full(count * FRAME, (index % 2) * 1000, np.int16) for index, count in enumerate(counts)])


def test_two_words_and_the_pause_between_them() -> None:
    final = [window for window in windows(frames(20, 10, 12, 15, 40)) if window.final]
    assert [window.speech for window in final] == [((16 * FRAME, 26 * FRAME), (38 * FRAME, 53 * FRAME))]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 511), st.integers(0, 100_000))
def test_spans_are_in_order_apart_and_as_long_as_what_was_counted(parts: list[int], odd: int, start: int) -> None:
    for window in windows(frames(*parts, 1)[: -odd or None], start):
        assert sum(high - low for low, high in window.speech) <= window.speech_samples
        assert window.speech_samples - sum(high - low for low, high in window.speech) < FRAME
        assert all(0 <= low < high <= len(window.pcm) for low, high in window.speech)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(window.speech))
