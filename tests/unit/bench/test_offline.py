"""Where an offline word ends."""

from __future__ import annotations

import numpy as np

from bot.bench.offline import RATE_HZ, align
from bot.bench.wer import TimedWord


def lane(*spoken_s: tuple[float, float], seconds: float = 10) -> np.typing.NDArray[np.int16]:
    pcm = np.random.default_rng(0).normal(0, 3, int(seconds * RATE_HZ))
    for first, last in spoken_s:
        pcm[int(first * RATE_HZ) : int(last * RATE_HZ)] *= 1000
    return pcm.astype(np.int16)


def test_a_word_stretched_over_silence_ends_with_its_sound() -> None:
    (word,) = align([TimedWord("today", 700, 7000)], lane((0.2, 1.2), (6.0, 8.0)))
    assert word == TimedWord("today", 700, 1200)


def test_words_of_usual_length_keep_the_times_they_were_given() -> None:
    words = [TimedWord("good", 200, 600), TimedWord("morning", 600, 1500)]
    assert align(words, lane((0.2, 1.2))) == words


def test_nothing_to_go_by() -> None:
    words = [TimedWord("today", 3000, 7000)]
    assert align(words, lane((0.2, 1.2))) == words
    assert align(words, np.zeros(0, np.int16)) == words
