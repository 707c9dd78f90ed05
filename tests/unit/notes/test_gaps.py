"""Nothing is joined over a gap: no sentence, no quotation, no question with an answer, by either writer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings

from bot.demo.dialogue import load
from bot.errors import NoteGenerationFailed
from bot.events import (
    Gap,
    GapReason,
    NoteRequest,
    Segment,
    Transcript,
)
from bot.notes import evidence, gaps
from bot.notes.cues import plain
from bot.notes.english import smooth
from bot.notes.evidence import check
from bot.notes.extractive import NOTICE, compose
from bot.notes.frames import QUOTE
from bot.notes.prompts import lines_of
from bot.notes.units import ANSWER_WITHIN_MS, LONG_SILENCE_MS, read
from tests.unit.notes.gapped import ASKED, SOAP, Said, judged, note, sessions, spoken
from tests.unit.notes.sessions import section, sentences, texts

NEXT_WORDS = "'s next recorded words, at "
WHOSE = [None, "C", "T"]
reasons = pytest.mark.parametrize("reason", list(GapReason))


# -- questions ---------------------------------------------------------------------------------------------------------


@reasons
@pytest.mark.parametrize("whose", WHOSE)
def test_a_question_is_not_answered_from_beyond_a_gap(reason: GapReason, whose: str | None) -> None:
    draft = note(
        ("T", 1000, 4000, ASKED),
        ("C", 625_000, 627_000, "Yes, every day."),
        ("C", 628_000, 630_000, "I go for a run in the morning."),
        holes=(Gap(20_000, 620_000, reason, whose),),
    )
    assert texts(draft, "risk") == [f"At 0:01, clinician asked: “{ASKED}”; what followed was not recorded."]
    assert texts(draft, "subjective") == ["Client said: “I go for a run in the morning.”"]


@reasons
def test_any_other_question_before_a_gap_stays_open_too(reason: GapReason) -> None:
    draft = note(
        ("T", 1000, 4000, "Are you still taking the medication?"),
        ("C", 12_000, 13_000, "No, none at all."),
        holes=(Gap(4000, 12_000, reason),),
    )
    assert [s.text for s in sentences(draft)] == [
        "Asked “Are you still taking the medication?”; part of what followed was not recorded."
    ]


def test_a_proposal_whose_answer_is_lost_is_no_plan() -> None:
    draft = note(
        ("T", 1000, 3000, "Shall we plan to reduce the medication?"),
        holes=(Gap(3000, 9000, GapReason.PAUSED),),
    )
    assert texts(draft, "plan") == []
    assert [s.text for s in sentences(draft)] == [
        "Asked “Shall we plan to reduce the medication?”; what followed was not recorded."
    ]


def test_a_question_whose_answer_is_lost_is_not_joined_with_the_answer_to_the_next() -> None:
    draft = note(
        ("T", 1000, 4000, ASKED),
        ("T", 9000, 11_000, "And how do you sleep?"),
        ("C", 12_000, 14_000, "No, not well, I wake up at four."),
        holes=(Gap(4500, 8500, GapReason.LOST, "C"),),
    )
    assert texts(draft, "risk") == [
        f"At 0:01, clinician asked: “{ASKED}”; part of what followed was not recorded. Client's next recorded words, "
        "at 0:12, after “And how do you sleep?”: “No, not well, I wake up at four.”"
    ]
    assert texts(draft, "subjective") == [
        "Asked “And how do you sleep?”, client said: “No, not well, I wake up at four.”"
    ]


def test_what_is_said_after_a_question_that_nobody_heard_is_no_answer_to_the_one_before() -> None:
    draft = note(
        ("T", 1000, 4000, ASKED),
        ("C", 5000, 6000, "No."),
        ("C", 12_000, 14_000, "Yes, all the time."),
        holes=(Gap(7000, 11_000, GapReason.LOST, "T"),),
    )
    assert texts(draft, "risk") == [
        f"At 0:05, asked “{ASKED}”, client said: “No.”; part of the clinician's sound is missing here. "
        "Client's next recorded words, at 0:12: “Yes, all the time.”"
    ]


def test_the_last_question_before_recording_ended_is_open() -> None:
    draft = note(
        ("C", 0, 900, "I feel sad today."),
        ("T", 1000, 4000, ASKED),
        holes=(Gap(4000, 90_000, GapReason.PAUSED),),
    )
    assert texts(draft, "risk")[0].endswith("; what followed was not recorded.")


def test_a_gap_of_somebody_else_and_a_gap_elsewhere_part_nothing() -> None:
    draft = note(
        ("G", 0, 500, "Hello."),
        ("T", 1000, 4000, ASKED),
        ("C", 9000, 10_000, "No, none at all."),
        holes=(Gap(4500, 8500, GapReason.ABSENT, "G"), Gap(20_000, 30_000, GapReason.PAUSED)),
    )
    assert texts(draft, "risk") == [f"At 0:09, asked “{ASKED}”, client said: “No, none at all.”"]


@pytest.mark.parametrize(("silent_ms", "paired"), [(ANSWER_WITHIN_MS, True), (ANSWER_WITHIN_MS + 1, False)])
def test_an_answer_may_take_its_time_but_not_forever(silent_ms: int, paired: bool) -> None:
    draft = note(("T", 1000, 4000, ASKED), ("C", 4000 + silent_ms, 5000 + silent_ms, "Yes."))
    assert ("client said: “Yes.”" in texts(draft, "risk")[0]) is paired
    assert "not recorded" not in texts(draft, "risk")[0]


def test_words_said_while_the_question_is_still_being_asked_are_no_answer_to_it() -> None:
    long_question = f"Last week you told me that it had been a hard month for you at work. {ASKED}"
    said: list[Said] = [("T", 10_000, 20_000, long_question), ("C", 11_000, 11_800, "Yes, exactly.")]
    assert texts(note(*said), "risk") == [f"At 0:10, clinician asked: “{ASKED}”"]
    answered = note(*said, ("C", 20_300, 21_000, "No, never."))
    assert texts(answered, "risk") == [f"At 0:20, asked “{ASKED}”, client said: “No, never.”"]
    nearly_over = note(said[0], ("C", 19_400, 20_600, "No, never."))
    assert texts(nearly_over, "risk") == [f"At 0:19, asked “{ASKED}”, client said: “No, never.”"]


def test_only_the_very_next_turn_answers() -> None:
    turns = read(
        spoken(
            ("T", 0, 2000, ASKED),
            ("C", 2500, 3000, "Um."),
            ("T", 3200, 5000, "We will come back to that later on."),
            ("C", 5500, 7000, "Yes, that would be good."),
        ).transcript
    )
    assert [[q.text for q in turn.question] for turn in turns] == [[], [ASKED], [], []]


# -- sentences ---------------------------------------------------------------------------------------------------------


@reasons
@pytest.mark.parametrize("whose", [None, "C"])
def test_halves_on_either_side_of_a_gap_are_two_quotations(reason: GapReason, whose: str | None) -> None:
    draft = note(
        ("C", 1000, 4000, "I have been feeling low and I want to"),
        ("C", 25_000, 27_000, "kill the weeds in my garden this weekend with my sister."),
        holes=(Gap(5000, 24_000, reason, whose),),
    )
    quotes = [quote for s in sentences(draft) for quote in QUOTE.findall(s.text)]
    assert quotes == [
        "I have been feeling low and I want to.",
        "Kill the weeds in my garden this weekend with my sister.",
    ]


def test_a_gap_of_the_listener_does_not_cut_a_sentence() -> None:
    hole = Gap(2500, 4500, GapReason.LOST, "C")
    turns = read(
        spoken(("T", 0, 2000, "Have you thought of"), ("T", 5000, 7000, "ending your life?"), holes=(hole,)).transcript
    )
    assert [u.text for t in turns for u in t.units] == ["Have you thought of ending your life?"]


@pytest.mark.parametrize(("silent_ms", "units"), [(LONG_SILENCE_MS, 1), (LONG_SILENCE_MS + 1, 2)])
def test_a_long_silence_ends_a_sentence(silent_ms: int, units: int) -> None:
    turns = read(
        spoken(("C", 0, 2000, "I think I want to"), ("C", 2000 + silent_ms, 5000 + silent_ms, "go home.")).transcript
    )
    assert sum(len(turn.units) for turn in turns) == units


@reasons
def test_an_agreement_from_beyond_a_gap_goes_with_no_plan(reason: GapReason) -> None:
    said: list[Said] = [
        ("T", 0, 3000, "I'd like you to call your brother this week."),
        ("C", 9000, 11_000, "Okay, I can do that."),
    ]
    assert "Client answered" in texts(note(*said), "plan")[0]
    parted = texts(note(*said, holes=(Gap(4000, 8000, reason),)), "plan")
    assert parted[0] == "Clinician said: “I'd like you to call your brother this week.”"


# -- what the reader is told -------------------------------------------------------------------------------------------


@reasons
def test_an_empty_section_and_the_notice_say_that_a_part_is_missing(reason: GapReason) -> None:
    draft = note(
        ("C", 0, 4000, "I feel sad about my job all day."),
        ("C", 30_000, 33_000, "My mother worries about me too."),
        holes=(Gap(5000, 29_000, reason),),
    )
    assert section(draft, "plan").placeholder == "Not discussed in what was recorded."
    assert draft.notice.startswith(NOTICE)
    assert f"Part of the session was not recorded ({gaps.IN_WORDS[reason]})" in draft.notice


def test_somebody_who_came_late_or_left_is_no_missing_part() -> None:
    said: Said = ("C", 10_000, 14_000, "I feel sad about my job all day.")
    draft = note(said, holes=(Gap(0, 10_000, GapReason.ABSENT, "T"), Gap(14_000, 60_000, GapReason.ABSENT, "C")))
    assert section(draft, "plan").placeholder == "Not discussed."
    assert draft.notice == NOTICE


def test_a_placeholder_of_a_clinics_own_keeps_its_words() -> None:
    holes = gaps.Holes(Transcript("s", (), (Gap(0, 9000, GapReason.PAUSED),)))
    assert holes.placeholder("Nothing.") == "Nothing. Not discussed in what was recorded."


def test_the_demos_session_reads_well() -> None:
    dialogue = load()
    who = {"clinician": "T", "client": "C"}
    draft = note(
        *((who[t.lane], t.start_ms, t.end_ms, t.text) for t in dialogue.turns if not t.off_record),
        holes=(Gap(dialogue.pause_at_ms, dialogue.resume_at_ms, GapReason.PAUSED),),
    )
    assert texts(draft, "risk") == [f"At 0:29, asked “{ASKED}”, client said: “No, none at all.”"]
    assert "Asked “Are you still taking the medication?”, client said: “Yes, every morning. I take 20 milligrams.”" in (
        texts(draft, "subjective")
    )
    assert texts(draft, "objective") == []
    assert section(draft, "objective").placeholder == "Not discussed in what was recorded."
    assert not any("not recorded" in s.text for s in sentences(draft))


# -- the model writer --------------------------------------------------------------------------------------------------

PAUSED = spoken(
    ("T", 0, 3000, ASKED),
    ("C", 20_000, 22_000, "Yes, every day."),
    ("C", 23_000, 25_000, "My sister has"),
    ("C", 40_000, 42_000, "a secret garden."),
    ("T", 50_000, 52_000, "How is your sleep?"),
    ("C", 53_000, 55_000, "I sleep six hours."),
    holes=(Gap(4000, 19_000, GapReason.PAUSED), Gap(26_000, 39_000, GapReason.LOST, "C")),
)


@pytest.mark.parametrize(
    ("text", "ids", "reason"),
    [
        ("Client said: “My sister has a secret garden.”", ("s2", "s3"), evidence.QUOTE_NOT_SAID),
        ("Client said: “My sister … secret garden.”", ("s2", "s3"), evidence.QUOTE_NOT_SAID),
        ("Client has a sister with a secret garden.", ("s2", "s3"), evidence.OVER_A_GAP),
        (f"Asked “{ASKED}”, client said: “Yes, every day.”", ("s0", "s1"), evidence.OVER_A_GAP),
        ("Client has thoughts of hurting herself every day.", ("s0", "s1"), evidence.OVER_A_GAP),
        ("Client has thoughts of hurting herself.", ("s0",), evidence.NOT_ANSWERED),
        ("Client denies thoughts of hurting herself.", ("s0",), evidence.NOT_ANSWERED),
        ("Clinician asked about thoughts of hurting herself.", ("s0",), ""),
        (f"Asked “{ASKED}”; part of what followed was not recorded.", ("s0",), ""),
        (f"Asked “{ASKED}”; what followed was not recorded.", ("s0",), evidence.NOTHING_MISSING),
        (f"Asked “{ASKED}”; part of the clinician's sound is missing here.", ("s0",), evidence.NOTHING_MISSING),
        ("Asked “How is your sleep?”; part of what followed was not recorded.", ("s4",), evidence.NOTHING_MISSING),
        ("Asked “How is your sleep?”; what followed was not recorded.", ("s4",), evidence.NOTHING_MISSING),
        ("Asked “How is your sleep?”, client said: “I sleep six hours.”", ("s4", "s5"), ""),
        ("Client sleeps six hours and has a garden.", ("s3", "s5"), ""),
    ],
)
def test_a_models_sentence_over_a_gap_is_held_back(text: str, ids: tuple[str, ...], reason: str) -> None:
    assert judged(PAUSED, text, *ids) == reason


def test_the_record_given_to_a_model_shows_its_gaps() -> None:
    record = "\n".join(line.text for line in lines_of(PAUSED)).split("\n")
    assert record[1] == '{"not_recorded": "paused", "whose": "everybody\'s"}'
    assert record[4] == '{"not_recorded": "lost", "whose": "client"}'
    assert [line.startswith('{"id"') for line in record] == [True, False, True, True, False, True, True, True]
    ended = spoken(
        ("T", 0, 3000, ASKED), holes=(Gap(4000, 9000, GapReason.PAUSED), Gap(4100, 9000, GapReason.LOST, "x"))
    )
    record = lines_of(ended)[0].text.split("\n")
    assert record[0].startswith('{"id"')
    assert len(record) == 3


# -- whatever happens --------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(sessions())
def test_no_quotation_and_no_evidence_spans_a_gap(asked: NoteRequest) -> None:
    try:
        draft = compose(SOAP, asked)
    except NoteGenerationFailed:
        return
    assert check(draft, asked).held_back == ()
    by_id = {segment.segment_id: segment for segment in asked.transcript.segments}

    def parted(a: Segment, b: Segment, *people: str) -> bool:
        return any(
            a.end_ms <= gap.start_ms and gap.end_ms <= b.start_ms
            for gap in asked.transcript.gaps
            if gap.participant_id is None or gap.participant_id in people
            if gap.end_ms - gap.start_ms >= gaps.ASKS_LEAST_MS or gap.participant_id != "T" or set(people) == {"T"}
        )

    for sentence in sentences(draft):
        rests_on = [by_id[e.source_id] for e in sentence.evidence]
        for a, b in pairwise(rests_on if NEXT_WORDS not in sentence.text else ()):
            assert not parted(a, b, a.participant_id, b.participant_id)
        assert NEXT_WORDS in sentence.text or not parted(rests_on[0], rests_on[-1])
        for quote in QUOTE.findall(sentence.text):
            assert any(_stands_in(quote, part) for part in _between_gaps(rests_on, asked.transcript.gaps))


def _between_gaps(segments: list[Segment], holes: tuple[Gap, ...]) -> list[str]:
    """What each person said without a gap of theirs in between."""
    parts: dict[tuple[str, int], str] = {}
    for segment in segments:
        mine = [gap for gap in holes if gap.participant_id in {None, segment.participant_id}]
        key = segment.participant_id, sum(gap.end_ms <= segment.start_ms for gap in mine)
        parts[key] = f"{parts.get(key, '')} {segment.text}"
    return list(parts.values())


def _stands_in(quote: str, said: str) -> bool:
    there = f" {plain(smooth(said))} "
    return all(f" {plain(smooth(piece))} " in there for piece in quote.split("…") if plain(smooth(piece)))
