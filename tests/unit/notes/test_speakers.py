"""What came from a shared microphone is said by one of those who share it, and by none of them alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.events import (
    Evidence,
    EvidenceSource,
    NoteDraft,
    NoteRequest,
    NoteSection,
    NoteSentence,
    Role,
    Segment,
    SentenceStatus,
    Speaker,
    Transcript,
)
from bot.notes.evidence import WRONG_SPEAKER, check
from bot.notes.hashes import text_sha256
from bot.notes.prompts import lines_of
from bot.notes.speakers import Speakers, numbers_of_people

CHILD, PARENT, PARTNER = (
    Speaker("a", Role.CLIENT),
    Speaker("b", Role.GUARDIAN),
    Speaker("c", Role.CLIENT),
)
TEXT = "I slept badly all week."


def said(*speakers: Speaker, text: str = TEXT, at_ms: int = 0, segment_id: str = "s1") -> Segment:
    return Segment(
        segment_id, 1, True, "lane", speakers[0].participant_id if speakers else "a", Role.CLIENT, at_ms,
        at_ms + 2_000, text, speakers=speakers,
    )  # fmt: skip


def judged(text: str, *segments: Segment) -> str:
    """Why a sentence that rests on them is held back; empty where it is not."""
    evidence = tuple(Evidence(EvidenceSource.SEGMENT, s.segment_id, sha256=text_sha256(s.text)) for s in segments)
    sentence = NoteSentence("1", text, SentenceStatus.SUPPORTED, evidence)
    draft = NoteDraft("soap", 1, "test", (NoteSection("s", "S", (sentence,)),))
    request = NoteRequest("ses", Transcript("ses", segments), "soap")
    held = check(draft, request).held_back
    return held[0].reason if held else ""


def test_what_they_are_called() -> None:
    parent, couple = said(CHILD, PARENT), said(CHILD, PARTNER)
    assert Speakers([parent]).name(parent) == "Client or guardian"
    assert Speakers([couple]).name(couple) == "Client 1 or client 2"
    three = said(CHILD, PARTNER, PARENT)
    assert Speakers([three]).name(three) == "Client 1, client 2 or guardian"
    alone = said()
    assert Speakers([alone]).name(alone) == "Client"
    assert numbers_of_people("Client 1 or client 2 said: “x”") == {"1", "2"}


@pytest.mark.parametrize(
    "text",
    [
        "Client said: “I slept badly all week.”",
        "Guardian said: “I slept badly all week.”",
        "The client reported that they slept badly all week.",
        "She slept badly all week.",
        "The guardian slept badly all week.",
    ],
)
def test_a_sentence_that_gives_it_to_one_of_them_is_held_back(text: str) -> None:
    assert judged(text, said(CHILD, PARENT)) == WRONG_SPEAKER


@pytest.mark.parametrize(
    ("text", "speakers"),
    [
        ("Client or guardian said: “I slept badly all week.”", (CHILD, PARENT)),
        ("Client 1 or client 2 said: “I slept badly all week.”", (CHILD, PARTNER)),
        ("The client or guardian slept badly all week.", (CHILD, PARENT)),
        ("One of them slept badly all week.", (CHILD, PARENT)),
    ],
)
def test_one_that_gives_it_to_all_of_them_stands(text: str, speakers: tuple[Speaker, ...]) -> None:
    assert judged(text, said(*speakers)) == ""


def test_two_utterances_from_there_are_not_quoted_as_one() -> None:
    first, second = said(CHILD, PARENT), said(CHILD, PARENT, text="No you did not.", at_ms=2_100, segment_id="s2")
    assert judged("Client or guardian said: “I slept badly all week. No you did not.”", first, second)
    alone = [replace(one, speakers=()) for one in (first, second)]
    assert judged("Client said: “I slept badly all week. No you did not.”", *alone) == ""


def test_a_model_is_told_of_it() -> None:
    request = NoteRequest("ses", Transcript("ses", (said(CHILD, PARTNER), said(at_ms=3_000, segment_id="s2"))), "soap")
    lines = [line.text for line in lines_of(request)]
    assert '"by": "client 1 or client 2"' in lines[0]
    assert '"by": "client"' in lines[1]
