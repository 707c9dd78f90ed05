"""What random pauses come to: spans, words with times, what counts as lost and what as kept after a pause."""

from __future__ import annotations

import numpy as np
import pytest

from bot.asr.captions import LaneVoice
from bot.bench.pause import Found, found_after, report, shares
from bot.bench.pause_calls import Call, Pause, Resume
from bot.bench.pause_talk import PEOPLE, sounding, talk_of
from bot.bench.spans import Lost, between, common, lost_words, merged, placed
from bot.bench.taps import Place, Watch
from bot.bench.wer import TimedWord
from bot.demo.dialogue import Turn, load
from bot.events import CapturedAudio, Role


def test_spans() -> None:
    assert merged([(5, 9), (0, 3), (3, 4), (7, 12), (20, 20)]) == [(0, 4), (5, 12)]
    assert common([(0, 10), (5, 15)], [(8, 12), (9, 30)]) == 7, "each sample once"
    assert between([(0, 5), (8, 20), (21, 30)]) == [(5, 8), (20, 21)]
    assert between([(0, 5)]) == []


@pytest.mark.parametrize(
    ("word", "finals", "lost"),
    [
        ((100, 200), [(0, 1000)], Lost(words=1)),
        ((100, 200), [(160, 1000)], Lost(before_pause=1, words=1)),
        ((100, 200), [(140, 1000)], Lost(words=1)),
        ((2100, 2200), [(0, 1000)], Lost(after_resume=1, words=1)),
        ((2800, 2900), [(0, 1000)], Lost(before_pause=1, words=1)),
        ((5100, 5200), [], Lost(after_resume=1, words=1)),
        ((1200, 1900), [], Lost()),
        ((940, 1040), [(0, 1000)], Lost(cut=1)),
        ((940, 1040), [], Lost(cut=1, cut_lost=1)),
        ((960, 1060), [], Lost()),
        ((1960, 2060), [(2000, 2100)], Lost(cut=1)),
        ((905, 1005), [], Lost(before_pause=1, words=1)),
    ],
    ids=[
        "in a final", "mostly in none", "mostly in one", "after the resume", "before the next pause",
        "after the last resume", "said in the pause", "cut, the rest in a final", "cut, the rest in none",
        "cut, its middle in the pause", "cut by the resume", "as good as whole",
    ],
)  # fmt: skip
def test_lost_words(word: tuple[int, int], finals: list[tuple[int, int]], lost: Lost) -> None:
    assert lost_words([word], [(0, 1000), (2000, 3000), (5000, 9000)], finals) == lost


def test_words_of_a_turn_take_the_times_that_were_heard_and_share_the_rest() -> None:
    turn = Turn("client", "It was better than twenty.", 4000, 6000, False)
    heard = [
        TimedWord("it", 0, 420), TimedWord("was", 420, 4380), TimedWord("better", 4380, 4700),
        TimedWord("than", 4700, 5000), TimedWord("20", 5000, 6400), TimedWord("better", 9000, 9400),
    ]  # fmt: skip
    words = placed([turn], heard)
    assert [word.text for word in words] == ["it", "was", "better", "than", "twenty"]
    assert [(word.start_ms, word.end_ms) for word in words[2:4]] == [(4380, 4700), (4700, 5000)]
    assert words[0].start_ms == 4000
    assert words[1].end_ms == pytest.approx(4380)
    assert (words[4].start_ms, words[4].end_ms) == pytest.approx((5000, 6000))


def test_words_lose_the_silence_that_their_times_take_in() -> None:
    sound = np.zeros(16_000, np.int16)
    sound[4_800:8_000] = 5_000
    words = sounding([TimedWord("i", 0, 500), TimedWord("feel", 600, 900)], sound)
    assert words == [TimedWord("i", 300, 500)]


def test_the_conversation_goes_round_without_its_private_part() -> None:
    dialogue = load()
    talk = talk_of(dialogue, dict.fromkeys(PEOPLE, ()))
    words = [word.text for who in PEOPLE for word in talk.words[who]]
    assert dialogue.code_word not in words
    assert len(words) > 120
    assert talk.duration_ms == dialogue.duration_ms - (dialogue.resume_at_ms - dialogue.pause_at_ms)
    assert all(len(sound) == talk.samples for sound in talk.sound.values())
    first = talk.words_within("client", 0, talk.samples)
    again = talk.words_within("client", talk.samples, 2 * talk.samples)
    assert [(a - talk.samples, b - talk.samples) for a, b in again] == first
    assert np.array_equal(talk.piece("client", talk.samples - 5, 10)[5:], talk.sound["client"][:5])
    gaps = talk.gaps_ms()
    assert len(gaps) > 10
    assert not any(t.start_ms <= gap < t.end_ms for gap in gaps for who in PEOPLE for t in talk.turns[who])


def test_what_lies_in_a_pause_counts_by_its_place_or_by_its_mark() -> None:
    watch = Watch(marked=True)
    clean, said = np.zeros(10, np.int16), np.ones(10, np.int16)
    watch.audio(Place.WINDOWS, CapturedAudio("a", 0, clean))
    watch.audio(Place.WINDOWS, CapturedAudio("a", 10, clean))
    watch.audio(Place.SPOOL, CapturedAudio("a", 95, clean))
    watch.audio(Place.QUEUE, CapturedAudio("b", 95, said[:3]))
    assert watch.seen["a", Place.WINDOWS] == [(0, 20)]
    assert found_after(watch, {"a": [(100, 200)]}) == {Place.SPOOL: 5, Place.QUEUE: 3}
    with pytest.raises(LookupError):
        watch.engine(clean)


def test_figures() -> None:
    found = Found()
    for n in range(1, 101):
        found.add(Found(1, lost=Lost(0, int(n == 7), 3), click_ms=[float(n)], ack_ms=[2.0 * n], closed=n != 9))
    figures = report(found)
    assert (figures["n"], figures["samples_after_ack"], figures["codeword_leaked"]) == (100, 0, False)
    assert figures["click_to_effective_ms"] == {"p50": 50, "p99": 99}
    assert figures["ack_ms"] == {"p50": 100, "p99": 198}
    assert (figures["words_lost_before_pause"], figures["words_lost_after_resume"], figures["words"]) == (0, 1, 300)
    assert figures["ledger_closed"] is False
    assert report(Found())["ack_ms"] == {"p50": None, "p99": None}
    assert shares(50, 17) == [17, 17, 16]
    assert shares(0, 17) == []
    assert shares(3, 17) == [3]


def test_the_first_sample_after_a_resume_counts_where_lanes_had_been_stopped() -> None:
    watch = Watch()
    for who in PEOPLE:
        watch.voices[who] = LaneVoice("ses", who, who, Role(who), "en")
    watch.seen["clinician", Place.WINDOWS] = [(0, 16_000), (33_600, 50_000)]
    watch.seen["client", Place.WINDOWS] = [(0, 16_000), (35_200, 50_000), (64_000, 90_000)]
    call = Call("ses", resumes=[Resume(32_000, 32_160, stopped=True), Resume(62_000, 64_000, stopped=False)])
    assert sorted(call.first_samples_ms(watch)) == [100, 200]
    figures = report(Found(2, long=1, first_ms=call.first_samples_ms(watch)))
    assert (figures["n_long"], figures["resume_to_first_sample_ms"]) == (1, {"p50": 100, "p99": 200})


def test_after_lanes_were_stopped_words_count_from_when_their_speaker_saw_recording() -> None:
    shown = {"clinician": 35_000, "client": 90_000}
    call = Call(
        "ses",
        resumes=[Resume(32_000, 32_160, stopped=True, shown=shown), Resume(62_000, 64_000, stopped=False)],
        stretches=[(0, 16_000), (32_160, 50_000), (64_000, 99_000)],
    )
    assert call.relied_on("clinician") == [(0, 16_000), (35_000, 50_000), (64_000, 99_000)]
    assert call.relied_on("client")[1] == (50_000, 50_000), "paused again before it was said"


def test_a_click_is_put_on_the_clock_of_the_call() -> None:
    pause = Pause(click_s=10.0, acked_s=10.025, effective_at_ms=501, clicked_at=8_000)
    assert pause.ack_ms == pytest.approx(25)
    assert pause.click_to_effective_ms == pytest.approx(1)
