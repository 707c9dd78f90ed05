"""A recording on this machine becomes a transcript: the windows, engine and judgement of a call, nothing stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot.asr.captions import LaneVoice, segment_of
from bot.asr.engine import AsrEngine
from bot.asr.hearing import hear
from bot.asr.transcript import assemble
from bot.errors import AudioTooShort
from bot.events import (
    SAMPLE_RATE_HZ,
    BoundaryReason,
    CapturedAudio,
    LaneBoundary,
    Pcm,
    Role,
    Segment,
    SpeechWindow,
    Transcript,
)
from bot.media.pipeline import window_id
from bot.media.windows import FrameModel, Windower

LANE = "recording"
MIN_SAMPLES = SAMPLE_RATE_HZ // 10
STEP = SAMPLE_RATE_HZ // 10
"""Sound goes in as finely as in a call, so that the same file gives the same windows whatever its blocks are."""


def transcribe(blocks: Iterable[Pcm], engine: AsrEngine, vad: FrameModel, *, language: str = "en") -> Transcript:
    """Recognise 16 kHz mono blocks from first to last, on the calling thread. Raises :class:`AudioTooShort`."""
    return assemble(LANE, segments(blocks, engine, vad, language=language), language=language)


def segments(blocks: Iterable[Pcm], engine: AsrEngine, vad: FrameModel, *, language: str = "en") -> Iterator[Segment]:
    """The finals as they come, those without words left out. Raises :class:`AudioTooShort`."""
    voice = LaneVoice(LANE, LANE, LANE, Role.GUEST, language)
    for window in _windows(blocks, vad):
        heard = hear(engine, window, language)
        segment = segment_of(window, voice, heard, 1)
        if segment.text:
            yield segment


def _windows(blocks: Iterable[Pcm], vad: FrameModel) -> Iterator[SpeechWindow]:
    ended: list[SpeechWindow] = []
    cutter = Windower(LANE, vad, lambda w: ended.append(w) if w.final else None, lambda start: window_id(LANE, start))
    position = 0
    for block in blocks:
        for start in range(0, len(block), STEP):
            piece = block[start : start + STEP]
            cutter.captured(CapturedAudio(LANE, position, piece))
            position += len(piece)
            yield from ended
            ended.clear()
    if position < MIN_SAMPLES:
        raise AudioTooShort("This recording is shorter than a tenth of a second.")
    cutter.boundary(LaneBoundary(LANE, position, BoundaryReason.FINISHED))
    yield from ended
