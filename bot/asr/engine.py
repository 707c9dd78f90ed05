"""The contract of a recogniser: a window of sound in, words out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bot.events import Pcm, Word


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an engine heard in one window. Times of words are milliseconds from the window's first sample."""

    text: str
    words: tuple[Word, ...]
    confidence: float
    """Geometric mean of the token probabilities, 0 to 1."""
    no_speech_prob: float
    compression_ratio: float
    language: str
    retried: bool = False
    """True when a first, cheaper decode was thrown away (repetition, cap hit, low probability)."""
    open_ended: bool = False
    """True when the model opened another stretch behind its last word and wrote nothing in it."""
    resumed: int = 0
    """How often words were found by decoding a part again that was left out (:mod:`bot.asr.hearing`)."""
    unheard_ms: int = 0
    """Speech by the VAD's judgement that got no words all the same."""


class AsrEngine(Protocol):
    """A loaded model. Its methods block and are called from one owned thread at a time."""

    @property
    def name(self) -> str:
        """Name of the loaded model, for records."""
        ...

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        """Recognise one window of mono 16 kHz samples."""
        ...
