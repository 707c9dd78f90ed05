"""Scoring: what counts, where a lane is cut, and how late a caption was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.bench.wer import (
    Caption,
    TimedWord,
    Turn,
    cut_of,
    latencies,
    percentile,
    read_turns,
    score_all,
    spread,
    turns_within,
    up_to,
)

TURNS = [
    Turn("doctor", "How long has it been?", 0, 2000),
    Turn("patient", "About ten days.", 3000, 4500),
    Turn("doctor", "I see.", None, None),
    Turn("patient", "It's well-known pain.", 6000, 8000),
    Turn("doctor", "Does it hurt at night?", 9000, 12000),
]


def test_both_spellings_of_a_recording_are_read(tmp_path: Path) -> None:
    path = tmp_path / "call.json"
    path.write_text(
        json.dumps(
            {
                "turns": [
                    {"speaker": "doctor", "text": "Hi.", "start_ms": 10, "end_ms": 400},
                    {"role": "patient", "text": "Hello.", "start": 0.5, "end": 1.25},
                    {"speaker": "doctor", "text": "Okay."},
                ]
            }
        )
    )
    assert read_turns(path) == [
        Turn("doctor", "Hi.", 10, 400),
        Turn("patient", "Hello.", 500, 1250),
        Turn("doctor", "Okay.", None, None),
    ]


def test_turns_that_end_within_the_limit_count_and_one_without_times_when_a_later_one_does() -> None:
    assert turns_within(TURNS, 8000) == TURNS[:4]
    assert turns_within(TURNS, 5000) == TURNS[:2]
    assert turns_within(TURNS, 100) == []


def test_a_lane_is_cut_between_its_last_whole_turn_and_the_next() -> None:
    assert cut_of(TURNS, "doctor", 10_000) == (2000 + 9000) / 2
    assert cut_of(TURNS, "patient", 10_000) == 10_000
    assert cut_of(TURNS, "patient", 7000) == (4500 + 6000) / 2


def test_words_of_a_segment_share_its_time_by_their_length() -> None:
    words = spread("I, remember!", 1000, 2100)
    assert [w.text for w in words] == ["i", "remember"]
    assert words[0].start_ms == 1000
    assert words[0].end_ms == pytest.approx(1200)
    assert words[1].end_ms == pytest.approx(2100)
    assert spread("...", 0, 100) == []
    assert up_to(words, 1500) == ["i"]


def test_rates_are_per_role_and_add_up() -> None:
    heard = {
        "doctor": [
            *spread("How long has it been", 0, 2000),
            *spread("I see", 5000, 5400),
            *spread("Does it", 9000, 9900),
        ],
        "patient": [*spread("About two days.", 3000, 4500), *spread("It's well known pain", 6000, 8000)],
    }
    # the doctor's unfinished turn after 9 s lies behind the cut; of the patient's seven words one is wrong
    assert score_all(TURNS, [heard], 8500) == {"doctor": 0.0, "patient": round(1 / 7, 4), "all": round(1 / 14, 4)}
    assert score_all(TURNS, [heard, heard], 8500) == score_all(TURNS, [heard], 8500)
    assert score_all(TURNS, [{}], 8500) == {"doctor": 1.0, "patient": 1.0, "all": 1.0}


def offline(*words: tuple[str, float, float]) -> list[TimedWord]:
    return [TimedWord(*word) for word in words]


def test_a_final_is_as_late_as_its_last_word_says_and_a_partial_as_its_first() -> None:
    captions = [
        Caption("doctor", 950, 2100, "Good morning.", final_at_ms=3000, first_at_ms=1900),
        Caption("doctor", 5000, 6000, "How are you?", final_at_ms=6900),
    ]
    said = offline(("good", 1000, 1300), ("morning", 1400, 2000), ("how", 5100, 5300), ("are", 5300, 5500))
    said += offline(("you", 5500, 5900))
    found = latencies(captions, {"doctor": said})
    assert found.final == (1000, 1000)
    assert found.first_partial == (900,)
    assert found.unaligned == 0


def test_a_last_word_the_offline_pass_did_not_hear_counts_from_the_word_before() -> None:
    captions = [Caption("patient", 0, 1000, "ten days maybe", final_at_ms=2000)]
    found = latencies(captions, {"patient": offline(("ten", 100, 300), ("days", 400, 700))})
    assert found.final == (1300,)


def test_captions_without_a_counterpart_have_no_latency_and_are_counted() -> None:
    captions = [
        Caption("patient", 0, 900, "okay", final_at_ms=1500),
        Caption("patient", 4000, 5000, "something else entirely here", final_at_ms=6000),
    ]
    found = latencies(captions, {"patient": offline(("okay", 20_000, 20_500))})
    assert found.final == ()
    assert found.unaligned == 2


def test_percentiles_are_nearest_rank() -> None:
    values = [float(n) for n in range(1, 21)]
    assert percentile(values, 0.5) == 10
    assert percentile(values, 0.95) == 19
    assert percentile([7.4], 0.95) == 7
    assert percentile([], 0.5) is None
