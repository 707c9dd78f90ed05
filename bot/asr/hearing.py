"""A window of sound becomes words, and the speech that a first decode left out is decoded again.

Whisper ends a stretch and opens the next, and sometimes writes nothing in it: what was said behind its last word is
then gone without a sign in the decode itself. Mostly so in windows that end within speech. The VAD knows better. Where
it heard speech and there are no words, the sound is given to the engine again from the last word that is certain, as
Whisper's own loop over a long recording does.

What comes of it must stand by itself (:func:`bot.asr.captions.stands`), and must add words; otherwise the first decode
is kept. One that does not stand itself is left alone: noise is not listened to until it says something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bot.asr.captions import stands
from bot.asr.engine import AsrEngine, Recognition
from bot.asr.wordtimes import sure_end_ms
from bot.events import SAMPLES_PER_MS, SpeechWindow, Word

EDGE_MS = 1250
"""Speech before the first word or behind the last that is worth a decode: the VAD hears up to 1.1 s more than the words
take."""
OPEN_MS = 900
"""The same behind the last word when the model says itself that there is more (:attr:`Recognition.open_ended`)."""
MIDDLE_MS = 2000
"""The same between two words, where alignment stretches a pause into the words beside it: up to 1.6 s there had nothing
missing. Over these three bounds were 19 of 527 windows with tiny.en and 9 of 326 with base, of real calls and of dense
speech; 17 and 6 got words by it, for sound in which words had been said each time."""
PASSES = 3
"""Times that parts of one window are given to the engine, besides the whole; none of those windows needed a third."""
STEP_MS = 300
"""A hole that begins this near the one before is the same again."""
CUT_SPAN_MS = 300
CUT_QUIET_MS = 100
CUT_STEP_MS = 10
"""The cut is made in the quietest :data:`CUT_QUIET_MS` this near a word's edge: a word's time is right to some 200 ms,
and a decode that begins within a word invents one."""


@dataclass(frozen=True, slots=True)
class _Hole:
    start_ms: int
    end_ms: int
    index: int
    """Of the first word behind it."""
    speech_ms: int


def hear(engine: AsrEngine, window: SpeechWindow, language: str) -> Recognition:
    """Recognise a window. One that has ended, or looks so, gets word times and is looked through for holes."""
    thorough = window.final or window.settled
    heard = engine.recognise(window.pcm, language=language, word_times=thorough)
    if not thorough or not stands(window, heard):
        return heard
    looked_ms = 0
    for _ in range(PASSES):
        hole = next((hole for hole in _holes(window, heard) if hole.start_ms >= looked_ms), None)
        if hole is None:
            break
        looked_ms = hole.start_ms + STEP_MS
        again = _rest if hole.index else _opening
        heard = again(engine, window, heard, hole, language) or heard
    return replace(heard, unheard_ms=sum(hole.speech_ms for hole in _holes(window, heard)))


def _holes(window: SpeechWindow, heard: Recognition) -> Iterator[_Hole]:
    """Where there is more speech between words than they can account for. None are found in a window without words:
    the same sound would give the same again.
    """
    words = heard.words
    if not words:
        return
    last_ms = sure_end_ms(words) if heard.open_ended else words[-1].end_ms
    edges = [0, *(word.end_ms for word in words[:-1]), last_ms]
    starts = [*(word.start_ms for word in words), len(window.pcm) // SAMPLES_PER_MS]
    at_least = [EDGE_MS, *[MIDDLE_MS] * (len(words) - 1), OPEN_MS if heard.open_ended else EDGE_MS]
    for index, (start_ms, end_ms, enough_ms) in enumerate(zip(edges, starts, at_least, strict=True)):
        speech_ms = _speech(window, start_ms * SAMPLES_PER_MS, end_ms * SAMPLES_PER_MS) // SAMPLES_PER_MS
        if speech_ms >= enough_ms:
            yield _Hole(start_ms, end_ms, index, speech_ms)


def _rest(
    engine: AsrEngine, window: SpeechWindow, heard: Recognition, hole: _Hole, language: str
) -> Recognition | None:
    """Everything from the hole on anew, in place of what there was; None when that is no better."""
    cut_ms = _quietest_ms(window, hole.start_ms)
    kept = [word for word in heard.words[: hole.index] if word.start_ms + word.end_ms < 2 * cut_ms]
    text = _text(heard, len(kept))
    again = _part(window, cut_ms, len(window.pcm) // SAMPLES_PER_MS)
    if text is None or not again.speech_samples:
        return None
    rest = engine.recognise(again.pcm, language=language, word_times=True)
    words = [replace(word, start_ms=word.start_ms + cut_ms, end_ms=word.end_ms + cut_ms) for word in rest.words]
    if not stands(again, rest) or len(words) <= len(heard.words) - len(kept) or _same(kept[-len(words) :], words):
        return None
    kept = [replace(word, end_ms=min(word.end_ms, cut_ms)) for word in kept]
    heard = replace(heard, open_ended=rest.open_ended)
    return _joined(window, heard, rest, f"{text} {rest.text}", (*kept, *words), len(kept))


def _opening(
    engine: AsrEngine, window: SpeechWindow, heard: Recognition, hole: _Hole, language: str
) -> Recognition | None:
    """The sound before the first word, alone: with what follows, it was left out. None when nothing came of it."""
    cut_ms = _quietest_ms(window, hole.end_ms - CUT_SPAN_MS)
    alone = _part(window, 0, cut_ms)
    first = engine.recognise(alone.pcm, language=language, word_times=True)
    if not first.words or not stands(alone, first) or _same(first.words[-1:], heard.words[:1]):
        return None
    text = f"{first.text} {heard.text}"
    return _joined(window, heard, first, text, (*first.words, *heard.words), len(heard.words))


def _joined(
    window: SpeechWindow, heard: Recognition, more: Recognition, text: str, words: tuple[Word, ...], kept: int
) -> Recognition | None:
    """Both parts as one; None when they would not stand together, as the first did alone."""
    share = kept / len(words)
    logs = (math.log(max(part.confidence, 1e-6)) for part in (heard, more))
    both = replace(
        heard,
        text=text.strip(),
        words=words,
        confidence=math.exp(sum(log * weight for log, weight in zip(logs, (share, 1 - share), strict=True))),
        no_speech_prob=max(heard.no_speech_prob, more.no_speech_prob),
        compression_ratio=max(heard.compression_ratio, more.compression_ratio),
        retried=heard.retried or more.retried,
        resumed=heard.resumed + 1,
    )
    return both if stands(window, both) else None


def _text(heard: Recognition, count: int) -> str | None:
    """The text of the first words as it is written; None when the words are not found in it."""
    at = 0
    for word in heard.words[:count]:
        found = heard.text.find(word.text, at)
        if found < 0:
            return None
        at = found + len(word.text)
    return heard.text[:at]


def _part(window: SpeechWindow, start_ms: int, end_ms: int) -> SpeechWindow:
    start, end = start_ms * SAMPLES_PER_MS, min(end_ms * SAMPLES_PER_MS, len(window.pcm))
    return replace(
        window,
        start_sample=window.start_sample + start,
        pcm=window.pcm[start:end],
        speech_samples=_speech(window, start, end),
        speech=(),
    )


def _speech(window: SpeechWindow, start: int, end: int) -> int:
    return sum(max(0, min(high, end) - max(low, start)) for low, high in window.speech)


def _quietest_ms(window: SpeechWindow, near_ms: int) -> int:
    """Where the sound is quietest, near a time."""
    half = CUT_QUIET_MS // 2
    low, high = max(0, near_ms - CUT_SPAN_MS), near_ms + CUT_SPAN_MS

    def loudness(at_ms: int) -> float:
        around = window.pcm[max(0, at_ms - half) * SAMPLES_PER_MS : (at_ms + half) * SAMPLES_PER_MS]
        return float(np.mean(around.astype(np.float64) ** 2)) if len(around) else math.inf

    return min(range(low, high + 1, CUT_STEP_MS), key=lambda at_ms: (loudness(at_ms), abs(at_ms - near_ms)))


def _same(one: Sequence[Word], other: Sequence[Word]) -> bool:
    """Whether both say the same: a sound heard twice, on both sides of a cut."""
    return [_bare(word) for word in one] == [_bare(word) for word in other]


def _bare(word: Word) -> str:
    return "".join(character for character in word.text.lower() if character.isalnum())
