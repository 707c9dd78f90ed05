"""What is heard next after a question about risk stands in its section, whole, and never as an answer over a gap."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from bot.errors import NoteGenerationFailed
from bot.events import Gap, GapReason, NoteRequest, Role
from bot.notes import evidence
from bot.notes.english import HESITATIONS
from bot.notes.evidence import check
from bot.notes.extractive import compose
from bot.notes.gaps import ASKS_LEAST_MS, BREAKS_OFF
from bot.notes.select import always_asked
from bot.notes.units import ANSWER_WITHIN_MS, opening, read
from tests.unit.notes.gapped import ASKED, SOAP, Said, judged, note, sessions, spoken
from tests.unit.notes.sessions import section, sentences, texts

LOST = GapReason.LOST
QUESTION: Said = ("T", 10_000, 12_000, ASKED)
FULLER: list[Said] = [
    ("C", 16_000, 18_000, "Yes, last night I wanted to cut myself."),
    ("C", 18_300, 20_000, "I held the knife in my hand for a while."),
]
PART = f"At 0:10, clinician asked: “{ASKED}”; part of what followed was not recorded. Client's next recorded words, at"
ASKERS = (
    f"At 0:10, clinician asked: “{ASKED}”; part of the clinician's sound is missing here. "
    "Client's next recorded words, at"
)


def risk(*said: Said, holes: tuple[Gap, ...] = ()) -> list[str]:
    """The section on risk."""
    return texts(note(*said, holes=holes), "risk")


# -- the asker's own lane ----------------------------------------------------------------------------------------------


def test_a_moment_lost_of_the_asker_hides_no_other_question() -> None:
    hole = Gap(12_500, 12_700, LOST, "T")
    assert risk(QUESTION, ("C", 13_000, 13_500, "Yes."), holes=(hole,)) == [
        f"At 0:13, asked “{ASKED}”, client said: “Yes.”"
    ]
    whole = [f"At 0:16, asked “{ASKED}”, client said: “{FULLER[0][3]} {FULLER[1][3]}”"]
    for begin in (12_500, 15_900, 17_000, 18_100):
        assert risk(QUESTION, *FULLER, holes=(Gap(begin, begin + 200, LOST, "T"),)) == whole


@pytest.mark.parametrize(("long_ms", "paired"), [(ASKS_LEAST_MS - 1, True), (ASKS_LEAST_MS, False)])
def test_a_hole_of_the_asker_counts_once_a_question_has_room_in_it(long_ms: int, paired: bool) -> None:
    said = risk(QUESTION, ("C", 16_000, 16_500, "Yes."), holes=(Gap(12_500, 12_500 + long_ms, LOST, "T"),))
    assert said == [f"At 0:16, asked “{ASKED}”, client said: “Yes.”" if paired else f"{ASKERS} 0:16: “Yes.”"]


def test_short_holes_on_end_are_one() -> None:
    holes = (Gap(12_500, 13_400, LOST, "T"), Gap(13_500, 14_500, LOST, "T"))
    assert risk(QUESTION, ("C", 16_000, 16_500, "Yes."), holes=holes) == [f"{ASKERS} 0:16: “Yes.”"]
    far = (Gap(12_500, 13_400, LOST, "T"), Gap(14_000, 15_000, LOST, "T"))
    assert risk(QUESTION, ("C", 16_000, 16_500, "Yes."), holes=far)[0].startswith("At 0:16, asked")


def test_a_question_that_breaks_off_in_a_hole_of_its_own_stays_open_however_short_the_hole() -> None:
    said = risk(
        QUESTION,
        ("T", 13_000, 14_000, "And how do you sleep?"),
        ("C", 15_000, 16_000, "Yes, badly."),
        holes=(Gap(12_300, 12_600, LOST, "T"),),
    )
    assert said == [f"{ASKERS} 0:15, after “And how do you sleep?”: “Yes, badly.”"]


@pytest.mark.parametrize("whose", [None, "T"])
def test_a_question_before_a_sentence_that_breaks_off_in_a_hole_stays_open(whose: str | None) -> None:
    said = risk(
        ("T", 10_000, 13_000, f"{ASKED} I mean have you"),
        ("T", 13_500, 14_500, "ever gone to the bridge at night?"),
        ("C", 16_000, 17_000, "Yes, last week."),
        holes=(Gap(13_100, 13_400, LOST, whose),),
    )
    kind = ASKERS if whose == "T" else PART
    assert said == [f"{kind} 0:16, after “Ever gone to the bridge at night?”: “Yes, last week.”"]


# -- everybody's and the answering lanes -------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", [None, "C"])
def test_any_hole_in_which_an_answer_may_lie_is_said(whose: str | None) -> None:
    hole = Gap(12_500, 12_700, LOST, whose)
    assert risk(QUESTION, ("C", 13_000, 13_500, "Yes."), holes=(hole,)) == [f"{PART} 0:13: “Yes.”"]
    whole = f"{FULLER[0][3]} {FULLER[1][3]}"
    assert risk(QUESTION, *FULLER, holes=(hole,)) == [f"{PART} 0:16: “{whole}”"]


@pytest.mark.parametrize("whose", [None, "C"])
def test_an_answer_cut_in_two_is_told_to_its_end(whose: str | None) -> None:
    draft = note(QUESTION, *FULLER, holes=(Gap(18_050, 18_200, LOST, whose),))
    assert texts(draft, "risk") == [
        f"At 0:16, asked “{ASKED}”, client said: “{FULLER[0][3]}”; part of what followed was not recorded. "
        f"Client's next recorded words, at 0:18: “{FULLER[1][3]}”"
    ]
    assert not section(draft, "subjective").sentences


def test_an_answer_in_which_the_asker_may_have_asked_on_is_told_to_its_end() -> None:
    first, second = FULLER[0], ("C", 23_000, 25_000, FULLER[1][3])
    draft = note(QUESTION, first, second, holes=(Gap(18_500, 22_000, LOST, "T"),))
    assert texts(draft, "risk") == [
        f"At 0:16, asked “{ASKED}”, client said: “{first[3]}”; part of the clinician's sound is missing here. "
        f"Client's next recorded words, at 0:23: “{second[3]}”"
    ]
    assert not section(draft, "subjective").sentences


def test_an_answer_in_three_pieces_is_told_to_its_end() -> None:
    said = risk(
        QUESTION,
        ("C", 13_000, 14_000, "Yes, last night I"),
        ("C", 15_000, 16_000, "wanted to"),
        ("C", 17_000, 18_000, "cut my arm. I held the knife."),
        holes=(Gap(12_200, 12_600, LOST, "C"), Gap(14_200, 14_700, LOST, "C"), Gap(16_200, 16_700, LOST, "C")),
    )
    assert said == [
        f"{PART} 0:13: “Yes, last night I.”; part of what followed was not recorded. Client's next recorded words, at "
        "0:15: “wanted to.”; part of what followed was not recorded. Client's next recorded words, at 0:17: "
        "“cut my arm. I held the knife.”"
    ]


def test_a_sound_before_the_hole_is_no_answer() -> None:
    said = risk(
        QUESTION,
        ("C", 12_300, 12_800, "Um."),
        ("C", 16_000, 17_000, "Yes, often."),
        holes=(Gap(13_000, 15_000, LOST, "C"),),
    )
    assert f"{PART} 0:16: “Yes, often.”" in said


def test_what_answers_a_later_question_of_risk_is_told_there() -> None:
    said = risk(
        QUESTION,
        ("T", 15_000, 17_000, "Are you thinking of killing yourself?"),
        ("C", 18_000, 19_000, "No."),
        holes=(Gap(12_500, 14_500, LOST, "C"),),
    )
    assert said == [
        f"At 0:10, clinician asked: “{ASKED}”; part of what followed was not recorded.",
        "At 0:18, asked “Are you thinking of killing yourself?”, client said: “No.”",
    ]


# -- nothing heard -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", [None, "C", "T"])
@pytest.mark.parametrize("late", [(), (("C", 12_001 + ANSWER_WITHIN_MS, 80_000, "I like my garden at home."),)])
def test_where_nobody_was_heard_to_answer_the_words_stay(whose: str | None, late: tuple[Said, ...]) -> None:
    assert risk(QUESTION, *late, holes=(Gap(13_000, 30_000, LOST, whose),)) == [
        f"At 0:10, clinician asked: “{ASKED}”{BREAKS_OFF}"
    ]


# -- the checker -------------------------------------------------------------------------------------------------------

PAUSED = spoken(QUESTION, ("C", 16_000, 17_000, "Yes, often."), holes=(Gap(13_000, 15_000, GapReason.PAUSED),))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{PART} 0:16: “Yes, often.”", ""),
        (f"{PART} 0:16: “Yes.”", evidence.OVER_A_GAP),
        (f"{PART} 0:10: “Yes, often.”", evidence.OVER_A_GAP),
        (f"{ASKERS} 0:16: “Yes, often.”", evidence.OVER_A_GAP),
        (f"Client's answer is known. {PART} 0:16: “Yes, often.”", evidence.OVER_A_GAP),
        (f"{PART} 0:16: “Yes, often.” Client wants to hurt herself.", evidence.OVER_A_GAP),
        (f"{PART.replace('At 0:10, clinician asked', 'Client wants to hurt herself')} 0:16: “Yes, often.”",
         evidence.OVER_A_GAP),
        (f"Asked “{ASKED}”, client's next words: “Yes, often.”", evidence.OVER_A_GAP),
        (f"Asked “{ASKED}”; part of what followed was not recorded. Client said: “Yes, often.”", evidence.OVER_A_GAP),
    ],
)  # fmt: skip
def test_only_the_plain_words_may_stand_over_a_gap(text: str, reason: str) -> None:
    assert judged(PAUSED, text, "s0", "s1") == reason


# -- whatever happens --------------------------------------------------------------------------------------------------


@settings(max_examples=600, deadline=None)
@given(sessions())
def test_what_answers_a_question_of_risk_without_gaps_stands_there_with_them(asked: NoteRequest) -> None:
    try:
        draft = compose(SOAP, asked)
    except NoteGenerationFailed:
        return
    assert check(draft, asked) == draft
    there = {e.source_id for s in section(draft, "risk").sentences for e in s.evidence}
    asks = {(unit.segments, unit.text) for turn in read(asked.transcript) for unit in turn.units if unit.asks}
    for turn in read(replace(asked.transcript, gaps=())):
        if any(always_asked(SOAP, unit) and (unit.segments, unit.text) in asks for unit in turn.question):
            for unit in opening(turn):
                spoken_in = {s.segment_id for s in unit.segments if set(s.text.lower().split()) - _SOUNDS}
                assert spoken_in <= there


@settings(max_examples=600, deadline=None)
@given(sessions())
def test_nothing_is_said_to_be_missing_that_was_recorded(asked: NoteRequest) -> None:
    try:
        draft = compose(SOAP, asked)
    except NoteGenerationFailed:
        return
    by_id = {segment.segment_id: segment for segment in asked.transcript.segments}
    for sentence in sentences(draft):
        if sentence.text.endswith(BREAKS_OFF):
            end_ms = max(by_id[e.source_id].end_ms for e in sentence.evidence)
            assert not any(
                segment.role is not Role.CLINICIAN and end_ms <= segment.start_ms <= end_ms + ANSWER_WITHIN_MS
                for segment in by_id.values()
            )


_SOUNDS = {f"{word}." for word in HESITATIONS} | HESITATIONS
