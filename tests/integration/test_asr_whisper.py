"""Real weights on the bundled dialogue, and on recordings where they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jiwer
import numpy as np
import pytest

import bot.demo
from bot.asr import models, offline, whisper
from bot.asr.captions import LaneVoice, segment_of, stands
from bot.asr.scheduler import Scheduler
from bot.asr.whisper import WhisperEngine
from bot.clock import SystemClock
from bot.errors import AudioTooShort
from bot.events import Pcm, Role, Segment, SpeechWindow, WindowEnd
from bot.media.decode import decode
from bot.media.vad import SileroVad

ASSETS = Path(next(iter(bot.demo.__path__))) / "assets"


def normal(text: str) -> str:
    """Lower case, without punctuation, hyphens split."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower().replace("-", " ")).split())


@pytest.fixture(scope="module")
def engine() -> WhisperEngine:
    return whisper.load(models.resolve("tiny.en", allow_hub=False), device="cpu", compute_type="int8", threads=1)


def lane(name: str) -> Pcm:
    return np.concatenate(list(decode(ASSETS / f"{name}.opus")))


def reference(name: str) -> str:
    turns = json.loads((ASSETS / "dialogue.json").read_text("utf-8"))["turns"]
    return normal(" ".join(turn["text"] for turn in turns if turn["lane"] == name))


@pytest.mark.parametrize("name", ["clinician", "client"])
def test_the_dialogue_is_understood(engine: WhisperEngine, name: str) -> None:
    transcript = offline.transcribe(decode(ASSETS / f"{name}.opus"), engine, SileroVad())
    said = normal(" ".join(segment.text for segment in transcript.segments))
    assert jiwer.wer(reference(name), said) < 0.25
    at = 0
    for segment in transcript.segments:
        assert at <= segment.start_ms < segment.end_ms
        assert segment.words
        assert segment.start_ms <= segment.words[0].start_ms <= segment.words[-1].end_ms <= segment.end_ms
        at = segment.start_ms


def test_a_short_answer_survives(engine: WhisperEngine) -> None:
    turns = json.loads((ASSETS / "dialogue.json").read_text("utf-8"))["turns"]
    turn = next(turn for turn in turns if turn["lane"] == "client" and turn["text"] == "Yes.")
    pcm = lane("client")[(turn["start_ms"] - 300) * 16 : (turn["end_ms"] + 300) * 16]
    heard = engine.recognise(pcm, language="en", word_times=True)
    window = SpeechWindow("w", "l", 0, pcm, len(pcm) // 2, WindowEnd.SILENCE)
    assert stands(window, heard)
    assert "yes" in heard.text.lower()


def test_a_growing_window_gets_one_try_and_no_word_times(engine: WhisperEngine) -> None:
    heard = engine.recognise(lane("client")[: 3 * 16_000], language="en-US", word_times=False)
    assert (heard.words, heard.retried, heard.language) == ((), False, "en")


@pytest.mark.parametrize("samples", [0, 1, 100, 400])
def test_next_to_nothing_is_nothing(engine: WhisperEngine, samples: int) -> None:
    heard = engine.recognise(np.zeros(samples, np.int16), language="en", word_times=True)
    window = SpeechWindow("w", "l", 0, np.zeros(samples, np.int16), 0, WindowEnd.SILENCE)
    assert segment_of(window, LaneVoice("s", "l", "p", Role.CLIENT, "en"), heard, 1).text == ""


def test_fast_speech_is_not_cut_off_by_the_length_cap(engine: WhisperEngine) -> None:
    """Seven turns with no pause between them, sped up: no word after a full second decode may be missing."""
    pcm = lane("client")
    turns = [t for t in json.loads((ASSETS / "dialogue.json").read_text("utf-8"))["turns"] if t["lane"] == "client"]
    longest = max(turns, key=lambda t: len(t["text"]))
    sound = pcm[longest["start_ms"] * 16 : longest["end_ms"] * 16]
    faster = sound[(np.arange(int(len(sound) / 1.3)) * 1.3).astype(int)]
    heard = engine.recognise(faster, language="en", word_times=True)
    assert len(heard.text.split()) >= 0.8 * len(longest["text"].split())


def test_a_recording_without_sound_is_refused(engine: WhisperEngine) -> None:
    with pytest.raises(AudioTooShort):
        offline.transcribe([], engine, SileroVad())


async def test_through_the_scheduler_on_the_real_engine(engine: WhisperEngine) -> None:
    got: list[Segment] = []
    scheduler = Scheduler(engine, SystemClock())
    scheduler.start()
    pcm = lane("clinician")[: 4 * 16_000]
    voice = LaneVoice("s", "l", "p", Role.CLINICIAN, "en")
    scheduler.submit(SpeechWindow("w", "l", 0, pcm, len(pcm) // 2, WindowEnd.SILENCE), voice, got.append)
    assert await scheduler.drain("s", 60)
    await scheduler.close()
    assert [segment.segment_id for segment in got] == ["w"]
    assert got[0].committed_through_sample == len(pcm)


@pytest.mark.corpus
def test_spoken_digits_survive(engine: WhisperEngine, corpus: Path) -> None:
    """The shortest of answers, each a third of a second: words are written for all, most of them the right ones."""
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    right = written = 0
    files = sorted((corpus / "speech" / "fsdd").glob("*.wav"))
    for file in files:
        quiet = np.zeros(8000, np.int16)
        pcm = np.concatenate([quiet, *decode(file), quiet])
        heard = engine.recognise(pcm, language="en", word_times=True)
        text = (
            heard.text.lower().strip(" .!?")
            if stands(SpeechWindow("w", "l", 0, pcm, len(pcm) - 16_000, WindowEnd.SILENCE), heard)
            else ""
        )
        written += bool(text)
        digit = file.name[0]
        right += text in {digit, names[int(digit)]}
    assert written >= 0.9 * len(files)
    assert right >= 0.6 * len(files)
