"""What a measured start comes to: which words count as lost, and which only as spoken too early."""

from __future__ import annotations

import pytest

from bot.bench.start import Lane, Start, _first_samples_ms, moment_of, report
from bot.bench.wer import TimedWord
from bot.demo.dialogue import load


def lane(first_ms: float, *starts_ms: float, said: str = "") -> Lane:
    words = [TimedWord(f"w{round(at)}", at, at + 200) for at in starts_ms]
    return Lane(words, first_ms, said.split())


def test_a_word_after_recording_was_shown_and_before_the_first_sample_is_lost() -> None:
    start = Start(300, {"clinician": lane(100, -500, 50, 200, 350), "client": lane(900, 310, 899, 901)}, True)
    figures = report([start])
    assert figures["words_lost_after_start"] == 2, "the client's words at 310 and 899"
    assert figures["words_before_recording_shown"] == 2, "the clinician's at 50 and 200"
    assert figures["words_lost_before_recording_shown"] == 1, "the one at 50"
    assert figures["click_to_first_sample_ms"] == {"p50": 900, "p95": 900, "max": 900}, "of the slower lane"
    assert figures["click_to_recording_shown_ms"]["p50"] == 300


def test_the_words_after_it_are_looked_for_in_the_transcript() -> None:
    heard = lane(100, 400, 600, 800, 9_000, said="w400 w800")
    figures = report([Start(300, {"client": heard}, True)])
    assert figures["words_heard_after_shown"] == pytest.approx(2 / 3, abs=1e-3)
    assert figures["words_lost_after_start"] == 0
    assert report([Start(300, {"client": lane(100)}, False)])["ledger_closed"] is False


def test_percentiles_are_over_the_starts() -> None:
    starts = [Start(float(ms), {"client": lane(ms / 2)}, True) for ms in range(100, 2_100, 100)]
    assert report(starts)["click_to_first_sample_ms"] == {"p50": 500, "p95": 950, "max": 1000}


def test_the_first_sample_is_where_the_absence_after_the_opening_ends() -> None:
    session = {"lanes": [{"role": "client", "ledger": {"off": 99_999, "absent": 1_600, "captured": 16_000}}]}
    assert _first_samples_ms(session, 118.0) == {"client": 218.0}


def test_start_is_pressed_inside_another_sentence_each_time() -> None:
    dialogue = load()
    moments = [moment_of(dialogue, index) for index in range(30)]
    assert len(set(moments)) > 15
    assert all(any(t.start_ms < at < t.end_ms for t in dialogue.turns) for at in moments)
    assert max(moments) < dialogue.duration_ms - 5_000
