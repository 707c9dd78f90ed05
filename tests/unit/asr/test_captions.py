from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bot.asr.captions import loudest_dbfs, segment_of, stands
from bot.events import Word
from tests.unit.asr.fakes import SECOND, heard, voice, window


@pytest.mark.parametrize("text", ["Yes.", "Okay.", "No.", "Thank you.", "6.", "Bye."])
def test_a_short_answer_that_was_heard_stands(text: str) -> None:
    assert stands(window("w1", seconds=0.4), heard(text, confidence=0.34, no_speech_prob=0.7))


@pytest.mark.parametrize("text", ["", "...", " - ", "?!"])
def test_what_holds_no_word_falls(text: str) -> None:
    assert not stands(window("w1"), heard(text))


def test_an_unsure_word_stands_only_where_the_sound_bears_it_out() -> None:
    unsure = heard("touch", confidence=0.25, no_speech_prob=0.2)
    assert stands(window("w1", speech=0.5), unsure)
    assert not stands(window("w1", speech=0.1), unsure)
    assert not stands(window("w1", speech=0.5), replace(unsure, no_speech_prob=0.8))
    assert not stands(window("w1", speech=0.9), replace(unsure, confidence=0.1))


def test_text_that_repeats_itself_or_outruns_the_speech_falls() -> None:
    assert not stands(window("w1"), heard("okay " * 40, compression_ratio=12.0))
    assert not stands(window("w1", seconds=1.0, speech=0.2), heard("a sentence far too long for that little " * 2))


def test_silence_says_nothing_however_sure_the_model_is() -> None:
    silent = replace(window("w1"), pcm=np.zeros(SECOND, np.int16))
    assert loudest_dbfs(silent) == -math.inf
    assert not stands(silent, heard("Thank you for watching.", confidence=0.95))
    assert loudest_dbfs(replace(silent, pcm=np.zeros(0, np.int16))) == -math.inf


def test_times_are_put_on_the_calls_clock() -> None:
    words = (Word("Good", 500, 700, 0.9), Word("morning.", 700, 1100, 0.8))
    segment = segment_of(window("w1", seconds=2, start=10 * SECOND), voice(), heard("Good morning.", words=words), 4)
    assert (segment.start_ms, segment.end_ms, segment.rev) == (10_500, 11_100, 4)
    assert [word.start_ms for word in segment.words] == [10_500, 10_700]
    assert segment.committed_through_sample == 12 * SECOND


def test_a_final_without_words_still_says_that_its_audio_may_go() -> None:
    segment = segment_of(window("w1", seconds=2, start=SECOND), voice(), heard("..."), 1)
    assert (segment.text, segment.words, segment.confidence) == ("", (), 0.0)
    assert (segment.start_ms, segment.end_ms, segment.committed_through_sample) == (1000, 3000, 3 * SECOND)


def test_a_partial_promises_nothing_about_audio() -> None:
    assert segment_of(window("w1", final=False), voice(), heard("Good"), 1).committed_through_sample == 0
