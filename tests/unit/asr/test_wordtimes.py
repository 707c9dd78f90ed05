from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.asr.wordtimes import LONGEST_S, TimedToken, sure_end_ms, words_of


def test_punctuation_belongs_to_its_word() -> None:
    pieces = [
        TimedToken(' "', 0.0, 0.1, 1.0), TimedToken("Yes", 0.1, 0.4, 0.9), TimedToken(",", 0.4, 0.5, 1.0),
        TimedToken(" I", 0.5, 0.6, 0.8), TimedToken(" do", 0.6, 0.9, 0.7), TimedToken(".", 0.9, 0.9, 1.0),
    ]  # fmt: skip
    assert [word.text for word in words_of(pieces, 1.0)] == ['"Yes,', "I", "do."]


def test_the_pre_roll_is_no_part_of_the_first_word() -> None:
    (word,) = words_of([TimedToken(" Yes.", 0.0, 0.9, 0.6)], 1.4)
    assert (word.start_ms, word.end_ms) == (300, 900)


def test_silence_goes_to_no_word() -> None:
    pieces = [TimedToken(" One.", 0.2, 0.5, 1), TimedToken(" Two", 0.5, 6.0, 1), TimedToken(" three", 6.0, 9.0, 1)]
    _one, two, three = words_of(pieces, 10.0)
    assert (two.start_ms, two.end_ms) == (6000 - LONGEST_S * 1000, 6000)
    assert (three.start_ms, three.end_ms) == (6000, 6000 + LONGEST_S * 1000)


def test_where_a_last_word_ends_is_not_sure_when_its_length_was_guessed() -> None:
    plain = [TimedToken(" One", 0.2, 0.5, 1), TimedToken(" two", 0.5, 1.0, 1)]
    assert sure_end_ms(words_of(plain, 10.0)) == 1000
    stretched = [TimedToken(" One", 0.2, 0.5, 1), TimedToken(" two", 0.5, 6.0, 1)]
    assert sure_end_ms(words_of(stretched, 10.0)) == 500
    begun_anew = [TimedToken(" One.", 0.2, 0.5, 1), TimedToken(" Two", 0.5, 6.0, 1)]
    assert sure_end_ms(words_of(begun_anew, 10.0)) == 6000
    assert sure_end_ms(words_of(begun_anew[1:], 10.0)) == 6000


TIMES = st.floats(-1, 30, allow_nan=False)
PIECES = st.lists(
    st.builds(TimedToken, st.sampled_from([" a", " b.", ",", " (", "c", ""]), TIMES, TIMES, st.floats(0, 1))
)


@given(PIECES, st.floats(0.1, 25))
def test_words_are_in_order_and_inside_the_window(pieces: list[TimedToken], window_s: float) -> None:
    at = 0
    for word in words_of(pieces, window_s):
        assert at <= word.start_ms <= word.end_ms <= round(window_s * 1000)
        at = word.end_ms
