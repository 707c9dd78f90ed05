from __future__ import annotations

from dataclasses import replace

from bot.events import Transcript
from bot.notes.spans import LONG_UNIT_WORDS, sentences_of
from bot.notes.units import evidence_of, read
from tests.unit.notes.sessions import talk


def test_a_sentence_over_two_segments_is_one_unit_with_both() -> None:
    turns = read(talk("client: I have been feeling really\nclient: tired lately. And sad."))
    assert [u.text for t in turns for u in t.units] == ["I have been feeling really tired lately.", "And sad."]
    first, second = turns[0].units
    assert [e.source_id for e in evidence_of([first])] == ["seg_0", "seg_1"]
    assert [e.source_id for e in evidence_of([second])] == ["seg_1"]


def test_a_listeners_sound_does_not_end_a_turn() -> None:
    transcript = talk("client: I went home\nclinician: Mm-hmm.\nclient: and slept.")
    first, sound, last = transcript.segments
    close = replace(last, start_ms=first.end_ms + 1500, end_ms=first.end_ms + 3000)
    sound = replace(sound, start_ms=first.end_ms + 500, end_ms=first.end_ms + 900)
    turns = read(Transcript("s", (first, sound, close)))
    assert [t.units[0].text for t in turns] == ["I went home and slept.", "Mm-hmm."]


def test_a_short_answer_ends_the_question() -> None:
    turns = read(talk("clinician: Any pain?\nclient: No.\nclinician: And your sleep?\nclient: Fine."))
    assert [[q.text for q in t.question] for t in turns] == [[], ["Any pain?"], [], ["And your sleep?"]]


def test_an_answer_belongs_to_the_question_just_before_it() -> None:
    turns = read(talk("clinician: How are you? Let us begin.\nclient: I am tired.\nclinician: Right.\nclient: Very."))
    assert not any(t.question for t in turns)


def test_run_on_speech_is_cut_at_clauses_and_loses_no_word() -> None:
    words = "and then I went to the other shop to look for it there too, " * 12
    units = read(talk(f"client: {words}"))[0].units
    assert len(units) > 1
    assert all(unit.words <= LONG_UNIT_WORDS for unit in units)
    assert " ".join(u.text for u in units).split() == words.split()


def test_shortened_words_and_decimals_do_not_end_sentences() -> None:
    assert sentences_of("I saw Dr. Weber. He gave me 2.5 mg. i took it") == [
        "I saw Dr. Weber.",
        "He gave me 2.5 mg. i took it",
    ]


def test_a_no_that_somebody_stopped_after_is_a_sentence() -> None:
    turns = read(talk("client: No.\nclient: Take bus no. 5 home."))
    assert [u.text for t in turns for u in t.units] == ["No.", "Take bus no. 5 home."]


def test_silence_has_no_turns() -> None:
    assert read(Transcript("s", ())) == []
    assert read(talk("client: ..."))[0].units == []
