"""Speech that a first decode left out, with decodes as a script says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.asr.engine import Recognition
from bot.asr.hearing import PASSES, hear
from bot.events import Pcm, SpeechWindow, WindowEnd, Word

SECOND = 16_000


def said(text: str, *times_s: float, **over: object) -> Recognition:
    """Words of a fifth of a second, each beginning at its time."""
    words = tuple(
        Word(word, round(at_s * 1000), round(at_s * 1000) + 200, 0.9)
        for word, at_s in zip(text.split(), times_s, strict=True)
    )
    values: dict[str, object] = {
        "text": text, "words": words, "confidence": 0.6, "no_speech_prob": 0.05, "compression_ratio": 0.9,
        "language": "en",
    }  # fmt: skip
    return Recognition(**(values | over))  # type: ignore[arg-type]


class Scripted:
    """Gives its decodes in turn, and notes which part of the window it was given."""

    name = "scripted"

    def __init__(self, *decodes: Recognition) -> None:
        self._decodes = list(decodes)
        self.given: list[tuple[float, float]] = []
        self._whole: Pcm | None = None

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        if self._whole is None:
            self._whole = pcm
        first = (pcm.ctypes.data - self._whole.ctypes.data) // pcm.itemsize
        self.given.append((first / SECOND, (first + len(pcm)) / SECOND))
        return self._decodes.pop(0)


def window(
    seconds: float, *spoken: tuple[float, float], end: WindowEnd | None = WindowEnd.FORCED, quiet_s: float | None = None
) -> SpeechWindow:
    pcm = np.random.default_rng(0).integers(-8000, 8000, int(seconds * SECOND)).astype(np.int16)
    if quiet_s is not None:
        pcm[int((quiet_s - 0.05) * SECOND) : int((quiet_s + 0.05) * SECOND)] = 0
    speech = tuple((int(low * SECOND), int(high * SECOND)) for low, high in spoken or [(0.0, seconds)])
    return SpeechWindow("w", "l", 0, pcm, sum(high - low for low, high in speech), end, speech=speech)


def times(heard: Recognition) -> list[tuple[str, int, int]]:
    return [(word.text, word.start_ms, word.end_ms) for word in heard.words]


def test_a_window_whose_words_reach_its_end_is_decoded_once() -> None:
    whole = said("one two three", 0.2, 1.5, 2.8)
    engine = Scripted(whole)
    assert hear(engine, window(4.0), "en") == whole
    assert engine.given == [(0.0, 4.0)]


def test_the_tail_is_decoded_again_from_the_last_word() -> None:
    engine = Scripted(said("but she said,", 0.5, 1.0, 1.5), said("he is the one", 0.5, 1.5, 2.5, 3.0, confidence=0.4))
    heard = hear(engine, window(5.5, quiet_s=1.8), "en")
    ((_, _), (cut, end)) = engine.given
    assert abs(cut - 1.8) < 0.02
    assert end == 5.5
    assert heard.text == "but she said, he is the one"
    at = round(cut * 1000)
    assert times(heard)[2:5] == [("said,", 1500, 1700), ("he", at + 500, at + 700), ("is", at + 1500, at + 1700)]
    assert heard.confidence == pytest.approx((0.6**3 * 0.4**4) ** (1 / 7))
    assert (heard.resumed, heard.unheard_ms) == (1, 0)


def test_silence_behind_the_last_word_is_no_loss() -> None:
    engine = Scripted(said("yes, I do", 0.5, 1.0, 1.5))
    assert hear(engine, window(9.0, (0.4, 2.9)), "en").text == "yes, I do"
    assert len(engine.given) == 1


def test_a_model_that_says_there_is_more_is_asked_sooner() -> None:
    first = said("yes, I do", 0.5, 1.0, 1.5)
    for open_ended, decodes in ((False, 1), (True, 2)):
        engine = Scripted(replace(first, open_ended=open_ended), said("however,", 0.4))
        hear(engine, window(3.0, (0.4, 2.7)), "en")
        assert len(engine.given) == decodes


def test_a_last_word_that_swallowed_the_tail_is_heard_again_with_it() -> None:
    first = said("it is on the", 0.5, 0.7, 0.9, 1.1, open_ended=True)
    first = replace(first, words=(*first.words[:3], Word("the", 1100, 2300, 0.9)))
    engine = Scripted(first, said("the left side", 0.1, 0.6, 1.2))
    heard = hear(engine, window(3.3, quiet_s=1.1), "en")
    assert heard.text == "it is on the left side"
    assert engine.given[1][0] == pytest.approx(1.1, abs=0.02)


def test_a_word_behind_the_cut_is_not_written_twice() -> None:
    engine = Scripted(said("fine. Okay.", 0.5, 1.5), said("Okay. I smoke", 0.1, 0.8, 2.0))
    assert hear(engine, window(4.2, quiet_s=1.45), "en").text == "fine. Okay. I smoke"


@pytest.mark.parametrize(
    "tail",
    [
        said("", confidence=0.0),
        said("thank you", 0.1, 0.4, confidence=0.1),
        said("thank you", 0.1, 0.4, confidence=0.25, no_speech_prob=0.9),
        said("la la la", 0.1, 0.4, 0.8, compression_ratio=3.0),
        said("she said,", 0.1, 0.4),
    ],
    ids=["nothing", "unsure", "doubted", "repeating", "an echo"],
)
def test_what_does_not_stand_by_itself_is_not_added(tail: Recognition) -> None:
    first = said("but she said,", 0.5, 1.0, 1.5)
    engine = Scripted(first, tail)
    heard = hear(engine, window(5.0), "en")
    assert heard == replace(first, unheard_ms=3300)
    assert len(engine.given) == 2


def test_a_tail_never_costs_the_words_before_it() -> None:
    """Together they would fall, for the model doubts the one and is not sure of the other."""
    first = said("no, none at all", 0.5, 1.0, 1.5, 2.0, confidence=0.31, no_speech_prob=0.7)
    heard = hear(Scripted(first, said("we and they", 0.5, 1.0, 1.5, confidence=0.2)), window(6.0), "en")
    assert heard.text == first.text


def test_noise_is_not_listened_to_again() -> None:
    engine = Scripted(said("thank you", 0.5, 1.0, confidence=0.1))
    assert hear(engine, window(8.0), "en").text == "thank you"
    assert len(engine.given) == 1


def test_a_hole_in_the_middle_is_decoded_again_to_the_end() -> None:
    first = said("what he said. In honest", 0.5, 0.8, 1.1, 4.5, 5.0)
    again = said("put this in a pot. In honesty", 0.2, 0.7, 1.2, 1.7, 2.1, 3.2, 3.6)
    engine = Scripted(first, again)
    heard = hear(engine, window(6.0, quiet_s=1.35), "en")
    assert heard.text == "what he said. put this in a pot. In honesty"
    assert engine.given[1][1] == 6.0


def test_a_middle_that_gives_no_more_words_stays_as_it_was() -> None:
    first = said("what he said. In honest", 0.5, 0.8, 1.1, 4.5, 5.0)
    heard = hear(Scripted(first, said("in honesty", 2.5, 3.6)), window(6.0), "en")
    assert (heard.text, heard.unheard_ms) == (first.text, 3200)


def test_a_pause_that_alignment_stretched_is_left_alone() -> None:
    engine = Scripted(said("how are you? and then", 0.5, 0.8, 1.1, 3.2, 3.6))
    hear(engine, window(4.0), "en")
    assert len(engine.given) == 1


def test_speech_before_the_first_word_is_decoded_alone() -> None:
    first = said("or a change in it", 2.0, 2.4, 2.8, 3.2, 3.6)
    engine = Scripted(first, said("any aches", 0.3, 0.9))
    heard = hear(engine, window(4.0, quiet_s=1.9), "en")
    assert heard.text == "any aches or a change in it"
    assert engine.given[1][0] == 0.0
    assert abs(engine.given[1][1] - 1.9) < 0.02
    drawn = Scripted(said("and...", 2.0), said("And", 0.5))
    assert hear(drawn, window(2.4), "en").text == "and..."


def test_a_growing_window_gets_one_decode() -> None:
    engine = Scripted(said("but", 0.5))
    assert hear(engine, window(8.0, end=None), "en").text == "but"
    assert len(engine.given) == 1


def test_a_settled_window_is_treated_as_the_final_that_it_becomes() -> None:
    engine = Scripted(said("but", 0.5), said("she said so", 0.5, 1.0, 1.5))
    assert hear(engine, replace(window(3.0, end=None), settled=True), "en").text == "but she said so"


def test_without_the_vads_word_nothing_is_decoded_again() -> None:
    engine = Scripted(said("but", 0.5))
    hear(engine, replace(window(8.0), speech=()), "en")
    assert len(engine.given) == 1


def test_text_that_its_words_are_not_found_in_is_left_alone() -> None:
    first = replace(said("but", 0.5), text="But")
    assert hear(Scripted(first), window(8.0), "en").text == "But"


class Stingy:
    """Hears two words and no more of whatever it is given."""

    name = "stingy"

    def __init__(self) -> None:
        self.decodes = 0

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        self.decodes += 1
        return said(f"word{self.decodes} more{self.decodes}", 0.9, 1.3)


def test_decodes_of_a_window_are_bounded() -> None:
    engine = Stingy()
    heard = hear(engine, window(20.0), "en")
    assert engine.decodes == 1 + PASSES
    assert f"word{1 + PASSES}" in heard.text
    assert heard.unheard_ms > 10_000


STARTS = st.lists(st.integers(0, 90), max_size=6).map(lambda found: [at / 10 for at in sorted(found)])


@given(st.lists(STARTS, min_size=1 + PASSES, max_size=1 + PASSES), st.floats(0.0, 9.5))
def test_words_stay_in_order_and_inside_the_window(decodes: list[list[float]], quiet_s: float) -> None:
    script = [said(" ".join(f"w{n}{i}" for i in range(len(at))), *at) for n, at in enumerate(decodes)]

    class Clipping(Scripted):
        """As an engine does: no word begins behind the end of the sound."""

        def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
            heard = super().recognise(pcm, language=language, word_times=word_times)
            end_ms = len(pcm) // 16
            words = tuple(replace(w, end_ms=min(w.end_ms, end_ms)) for w in heard.words if w.start_ms < end_ms)
            return replace(heard, words=words, text=" ".join(word.text for word in words))

    heard = hear(Clipping(*script), window(10.0, quiet_s=max(0.1, quiet_s)), "en")
    starts = [word.start_ms for word in heard.words]
    assert starts == sorted(starts)
    assert all(0 <= word.start_ms <= word.end_ms <= 10_000 for word in heard.words)
    assert heard.text.split() == [word.text for word in heard.words]
