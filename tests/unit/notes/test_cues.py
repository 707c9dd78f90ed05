from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.notes.cues import Cues, phrase_error, plain
from bot.notes.english import content_stems, negated, numbers, smooth


@pytest.mark.parametrize(
    ("phrase", "text", "matches"),
    [
        ("hurt* yourself", "Any thoughts of hurting yourself?", True),
        ("end ... life", "I wanted to end my whole life.", True),
        ("end ... life", "In the end I want you to have a good long life", False),
        ("^did", "Did you sleep?", True),
        ("^did", "What did you do?", False),
        ("low", "I slowly got up.", False),
        ("don't want", "I don’t want to.", True),
        ("self harm*", "any self-harming?", True),
        ("20 mg", "take 20 mg", True),
        ("no one", "no. one", True),
    ],
)
def test_a_phrase_matches_words(phrase: str, text: str, matches: bool) -> None:
    assert Cues([phrase]).search(plain(text)) is matches


@pytest.mark.parametrize("phrase", ["", "  ", "... end", "end ...", "a|b", "(x", "a.b", "st*ar"])
def test_what_is_no_phrase_is_refused(phrase: str) -> None:
    assert phrase_error(phrase)
    with pytest.raises(ValueError, match=r"\w"):
        Cues([phrase])


def test_no_cues_match_nothing() -> None:
    assert not Cues().search("anything")
    assert not Cues()


@given(st.text())
def test_plain_is_stable(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@example("3,.3")
@example("3 .3")
@given(st.text(alphabet=st.sampled_from("um I'm so. no, not ? 3 go ")))
def test_smoothing_is_stable_and_keeps_numbers_and_negation(text: str) -> None:
    once = smooth(text)
    assert plain(smooth(once)) == plain(once)
    assert numbers(once) == numbers(text)
    assert negated(once) == negated(text)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Um, I, I'm just, uh, so tired.", "I, I'm just, so tired."),
        ("I'm I'm having a lot of pain and and so on.", "I'm having a lot of pain and so on."),
        ("It's been, it's been hard.", "It's been hard."),
        ("No, no, never.", "No, no, never."),
        ("I know. I know what to do.", "I know. I know what to do."),
        ("Mm-hmm.", ""),
    ],
)
def test_hesitations_and_stutters_go_and_the_rest_stays(said: str, kept: str) -> None:
    assert smooth(said) == kept


def test_numbers_in_words_and_digits_are_the_same() -> None:
    assert numbers("twenty-five milligrams, twice") == numbers("25 mg 2")
    assert numbers("0.50 and 1,200") == {"0.5", "1200"}
    assert numbers("one of them") == frozenset()


def test_negation_is_heard_and_a_dentist_is_none() -> None:
    assert negated("She denies it.")
    assert negated("I haven't.")
    assert not negated("I saw the dentist.")


def test_stems_join_the_forms_of_a_word() -> None:
    assert set(content_stems("sleeping slept worries")) & set(content_stems("sleeps worry")) == {"sleep", "worry"}
