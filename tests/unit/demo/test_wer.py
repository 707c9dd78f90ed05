"""Word errors as everybody counts them here."""

from __future__ import annotations

import pytest

from bot.demo.wer import WordErrors, matches, normalise, word_errors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Twenty-one, I'm sure.", ["twenty", "one", "im", "sure"]),
        ("well\u2011known \u2014 “really”?", ["well", "known", "really"]),
        ("20 mg, 50%", ["20", "mg", "50"]),
        ("  ...  ", []),
        ("Ça va, José", ["ça", "va", "josé"]),
    ],
)
def test_normalisation(text: str, words: list[str]) -> None:
    assert normalise(text) == words


def test_errors_are_counted_by_kind_and_add_up() -> None:
    one = word_errors(["a", "b", "c", "d"], ["a", "x", "c"])
    assert one == WordErrors(wrong=1, missing=1, added=0, words=4)
    assert one.rate == 0.5
    assert (one + word_errors(["a"], ["a", "b"])).rate == pytest.approx(3 / 5)


def test_nothing_said() -> None:
    assert word_errors([], []).rate == 0
    assert word_errors([], ["thanks"]).rate == 1
    assert word_errors(["yes"], []) == WordErrors(missing=1, words=1)


def test_matches_pair_equal_words_only() -> None:
    assert matches(["a", "b", "c", "d"], ["b", "c", "x"]) == {0: 1, 1: 2}
    assert matches(["a", "b"], ["a", "b", "b"])[0] == 0
    assert matches([], ["a"]) == {}
