"""A window and what the engine heard in it become a caption; the one place that decides whether words stand.

Acoustic evidence decides, never a list of phrases: a short "Yes." is the session.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.asr.engine import Recognition
from bot.events import SAMPLES_PER_MS, Role, Segment, SpeechWindow, Word, ms_of

NO_SPEECH = 0.6
"""Above this the model itself doubts that anybody spoke ..."""
UNSURE = 0.37
"""... which counts when its words are no better than this: exp(-1), the library's own pair of thresholds."""
HOPELESS = 0.2
"""Words this unlikely are noise."""


@dataclass(frozen=True, slots=True)
class LaneVoice:
    """Whose lane a window is from."""

    session_id: str
    lane_id: str
    participant_id: str
    role: Role
    language: str


def stands(window: SpeechWindow, heard: Recognition) -> bool:
    """Whether the words are kept."""
    if not heard.text or not window.speech_samples:
        return False
    if heard.no_speech_prob > NO_SPEECH and heard.confidence < UNSURE:
        return False
    return heard.confidence >= HOPELESS


def segment_of(window: SpeechWindow, voice: LaneVoice, heard: Recognition, rev: int) -> Segment:
    """The caption of a window: a partial while it grows, a final when it ended. Without words its text is empty."""
    kept = stands(window, heard)
    start_ms = ms_of(window.start_sample)
    words = tuple(Word(w.text, start_ms + w.start_ms, start_ms + w.end_ms, w.probability) for w in heard.words)
    if not kept:
        words = ()
    return Segment(
        segment_id=window.window_id,
        rev=rev,
        final=window.final,
        lane_id=voice.lane_id,
        participant_id=voice.participant_id,
        role=voice.role,
        start_ms=words[0].start_ms if words else start_ms,
        end_ms=max(words[-1].end_ms, start_ms + 1) if words else window.end_sample // SAMPLES_PER_MS,
        text=heard.text if kept else "",
        words=words,
        confidence=heard.confidence,
        language=heard.language,
        committed_through_sample=window.end_sample if window.final else 0,
    )
