"""What was heard in a window becomes a segment, if the sound bears it out.

No list of phrases decides: "Yes." and "Thank you." are answers here. What decides is the sound (how much of the
window the VAD called speech, how loud it is) and the decode (how sure, how repetitive), all in :func:`stands`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bot.asr.engine import Recognition
from bot.events import SAMPLE_RATE_HZ, SAMPLES_PER_MS, Role, Segment, SpeechWindow, Word, ms_of

LOUD_STRETCH = 50 * SAMPLES_PER_MS
SILENT_DBFS = -60.0
"""Loudest 50 ms of a window below this: nothing a microphone picked up was speech."""
MAX_COMPRESSION = 2.4
"""Whisper's own threshold for text that repeats itself (Radford et al. 2022, section 4.5)."""
MAX_CHARS_PER_SPEECH_S = 40.0
"""Over 400 words a minute: more text than anybody speaks in the time the VAD heard speech."""
SPARE_SPEECH_S = 0.5
"""The VAD hears less than there is: quiet beginnings and endings."""
SURE = 0.30
"""A confidence from which words stand without further questions."""
UNSURE = 0.16
"""A confidence below which they fall."""
NO_SPEECH = 0.60
"""Between the two, they fall when the model itself doubts that this is speech, or the VAD heard little of it."""
LITTLE_SPEECH = 0.25


@dataclass(frozen=True, slots=True)
class LaneVoice:
    """Whose words a lane's windows are."""

    session_id: str
    lane_id: str
    participant_id: str
    role: Role
    language: str


def stands(window: SpeechWindow, heard: Recognition) -> bool:
    """Whether the words may be written down: the one place where that is decided."""
    if not any(character.isalnum() for character in heard.text):
        return False
    if heard.compression_ratio > MAX_COMPRESSION or loudest_dbfs(window) < SILENT_DBFS:
        return False
    speech_s = window.speech_samples / SAMPLE_RATE_HZ
    if len(heard.text) > MAX_CHARS_PER_SPEECH_S * (speech_s + SPARE_SPEECH_S):
        return False
    if heard.confidence >= SURE:
        return True
    if heard.confidence < UNSURE:
        return False
    return heard.no_speech_prob < NO_SPEECH and window.speech_samples >= LITTLE_SPEECH * len(window.pcm)


def loudest_dbfs(window: SpeechWindow) -> float:
    """Loudness of the loudest 50 ms of a window."""
    whole = len(window.pcm) // LOUD_STRETCH * LOUD_STRETCH
    pcm = window.pcm[:whole] if whole else window.pcm
    if not len(pcm):
        return -math.inf
    stretches = pcm.reshape(-1, LOUD_STRETCH if whole else len(pcm)).astype(np.float32) / 32768.0
    power = float(np.max(np.mean(stretches * stretches, axis=1)))
    return 10 * math.log10(power) if power > 0 else -math.inf


def segment_of(
    window: SpeechWindow, voice: LaneVoice, heard: Recognition, rev: int, through_sample: int | None = None
) -> Segment:
    """The window's segment: with empty text when its words do not stand.

    ``through_sample`` is what a final says of its lane's audio (:attr:`Segment.committed_through_sample`): the window's
    end unless something before it is not in words.
    """
    start_ms, end_ms = ms_of(window.start_sample), ms_of(window.end_sample)
    through = window.end_sample if through_sample is None else through_sample
    text = heard.text if stands(window, heard) else ""
    words = tuple(
        Word(word.text, start_ms + word.start_ms, start_ms + word.end_ms, word.probability) for word in heard.words
    )
    if text and words:
        start_ms, end_ms = words[0].start_ms, max(words[-1].end_ms, words[0].start_ms + 1)
    return Segment(
        segment_id=window.window_id,
        rev=rev,
        final=window.final,
        lane_id=voice.lane_id,
        participant_id=voice.participant_id,
        role=voice.role,
        start_ms=start_ms,
        end_ms=end_ms,
        text=text,
        words=words if text else (),
        confidence=heard.confidence if text else 0.0,
        language=heard.language,
        committed_through_sample=through if window.final else 0,
    )
