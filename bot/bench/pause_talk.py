"""The bundled conversation without its private part, going round and round, and the private word by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bot.bench import offline
from bot.bench.offline import QUIETER_DB
from bot.bench.spans import Span, placed
from bot.bench.wer import TimedWord
from bot.demo.dialogue import Dialogue, Turn, load
from bot.demo.packets import RTP_RATE_HZ, Recording, Sound, read_sound
from bot.events import SAMPLES_PER_MS, Pcm
from bot.media.decode import decode

CLINICIAN, CLIENT = "clinician", "client"
PEOPLE = (CLINICIAN, CLIENT)
NOISE = 8.0
"""Standard deviation of the quiet room under the voices: -72 dBFS."""
BREATH_MS = 200
"""Silence around a moment at which nobody speaks."""
WORD_MS = 900
"""The private sentence ends with the code word, which lies within this."""
STEP_MS = 10
AROUND = 4
"""Rounds of a prepared lane."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What both say on record, as a loop; times are in the loop."""

    dialogue: Dialogue
    duration_ms: int
    turns: Mapping[str, Sequence[Turn]]
    words: Mapping[str, Sequence[TimedWord]]
    sound: Mapping[str, Pcm]
    """16 kHz."""

    @property
    def samples(self) -> int:
        """Length of the loop at 16 kHz."""
        return self.duration_ms * SAMPLES_PER_MS

    def gaps_ms(self) -> list[int]:
        """Moments at which nobody speaks, one before each turn."""
        turns = [turn for who in PEOPLE for turn in self.turns[who]]
        return [
            turn.start_ms - BREATH_MS
            for turn in turns
            if not any(other.start_ms <= turn.start_ms - BREATH_MS < other.end_ms for other in turns)
        ]

    def piece(self, who: str, first: int, count: int) -> Pcm:
        """So many samples from a place of the endless loop on."""
        at = np.arange(first, first + count) % self.samples
        return self.sound[who][at]

    def words_within(self, who: str, first: int, last: int) -> list[Span]:
        """The words begun between two places of the endless loop, as spans of it."""
        spans = []
        for turn in range(first // self.samples, last // self.samples + 1):
            base = turn * self.samples
            for word in self.words[who]:
                start, end = (base + round(ms * SAMPLES_PER_MS) for ms in (word.start_ms, word.end_ms))
                if first <= start < last:
                    spans.append((start, end))
        return spans

    def recording(self, who: str) -> Recording:
        """The lane for real peers: some rounds of it at 48 kHz."""
        return Recording(np.tile(_on_record(read_sound(self.dialogue.path(who)), self.dialogue, RTP_RATE_HZ), AROUND))

    def private(self) -> Recording:
        """The end of the client's private sentence: the code word."""
        end_ms = max(turn.end_ms for turn in self.dialogue.turns if turn.lane == CLIENT and turn.off_record)
        sound = read_sound(self.dialogue.path(CLIENT))
        return Recording(sound[(end_ms - WORD_MS) * RTP_RATE_HZ // 1000 : end_ms * RTP_RATE_HZ // 1000])


async def on_record(model: str) -> Talk:
    """The conversation with the times of its words, from the offline pass of ``model``."""
    dialogue = load()
    heard = {who: await offline.words(model, dialogue.path(who), dialogue.duration_ms / 1000) for who in PEOPLE}
    return talk_of(dialogue, heard)


def talk_of(dialogue: Dialogue, heard: Mapping[str, Sequence[TimedWord]]) -> Talk:
    """The same from words that were timed before."""
    cut_ms = dialogue.resume_at_ms - dialogue.pause_at_ms

    def moved(turn: Turn) -> Turn:
        by_ms = cut_ms if turn.start_ms >= dialogue.resume_at_ms else 0
        return Turn(turn.lane, turn.text, turn.start_ms - by_ms, turn.end_ms - by_ms, turn.off_record)

    words, turns, sound = {}, {}, {}
    for who in PEOPLE:
        said = [turn for turn in dialogue.turns if turn.lane == who and not turn.off_record]
        words[who] = [
            TimedWord(word.text, word.start_ms - by_ms, word.end_ms - by_ms)
            for word in placed(said, heard[who])
            for by_ms in (cut_ms if word.start_ms >= dialogue.resume_at_ms else 0,)
        ]
        turns[who] = [moved(turn) for turn in said]
        whole = _on_record(np.concatenate(list(decode(dialogue.path(who)))), dialogue, SAMPLES_PER_MS * 1000)
        words[who] = sounding(words[who], whole)
        sound[who] = _in_a_room(whole)
    return Talk(dialogue, dialogue.duration_ms - cut_ms, turns, words, sound)


def sounding(words: Sequence[TimedWord], sound: Pcm) -> list[TimedWord]:
    """The words without the silence that their times take in; what is silence altogether is no word."""
    step = STEP_MS * SAMPLES_PER_MS
    blocks = sound[: len(sound) // step * step].reshape(-1, step).astype(np.float64)
    loud_db = 10 * np.log10((blocks**2).mean(axis=1) + 1e-3)
    spoken = loud_db > np.percentile(loud_db, 95) - QUIETER_DB
    out = []
    for word in words:
        first = int(word.start_ms // STEP_MS)
        loud = first + np.flatnonzero(spoken[first : -int(-word.end_ms // STEP_MS)])
        if len(loud):
            start_ms, end_ms = int(loud[0]) * STEP_MS, (int(loud[-1]) + 1) * STEP_MS
            out.append(TimedWord(word.text, max(word.start_ms, start_ms), min(word.end_ms, end_ms)))
    return out


def _on_record(sound: Sound, dialogue: Dialogue, rate_hz: int) -> Sound:
    """Without what is said while recording is paused; of the length the dialogue says."""
    pause, resume, end = (
        ms * rate_hz // 1000 for ms in (dialogue.pause_at_ms, dialogue.resume_at_ms, dialogue.duration_ms)
    )
    whole = np.pad(sound, (0, max(0, end - len(sound))))[:end]
    return np.concatenate([whole[:pause], whole[resume:]])


def _in_a_room(sound: Pcm) -> Pcm:
    noise = np.random.default_rng(1).normal(0, NOISE, len(sound))
    return np.clip(sound + noise, -32768, 32767).astype(np.int16)
