"""A recording on this machine becomes a transcript: the same windows, the same engine, nothing stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bot.asr.captions import LaneVoice, segment_of
from bot.asr.engine import AsrEngine
from bot.asr.transcript import assemble
from bot.events import BoundaryReason, CapturedAudio, LaneBoundary, Pcm, Role, Segment, SpeechWindow, Transcript
from bot.media.pipeline import window_id
from bot.media.vad import SileroVad
from bot.media.windows import Windower

LANE = "recording"


def transcribe(blocks: Iterable[Pcm], engine: AsrEngine, vad: SileroVad, *, language: str = "en") -> Transcript:
    """Recognise 16 kHz mono blocks from first to last. Blocks."""
    return assemble(LANE, segments(blocks, engine, vad, language=language), language=language)


def segments(blocks: Iterable[Pcm], engine: AsrEngine, vad: SileroVad, *, language: str = "en") -> Iterator[Segment]:
    """The finals as they come, those without words left out."""
    voice = LaneVoice(LANE, LANE, LANE, Role.GUEST, language)
    for window in _windows(blocks, vad):
        heard = engine.recognise(window.pcm, language=language, word_times=True)
        segment = segment_of(window, voice, heard, 1)
        if segment.text:
            yield segment


def _windows(blocks: Iterable[Pcm], vad: SileroVad) -> Iterator[SpeechWindow]:
    ended: list[SpeechWindow] = []
    cutter = Windower(LANE, vad, lambda w: ended.append(w) if w.final else None, lambda start: window_id(LANE, start))
    position = 0
    for block in blocks:
        cutter.captured(CapturedAudio(LANE, position, block))
        position += len(block)
        yield from ended
        ended.clear()
    cutter.boundary(LaneBoundary(LANE, position, BoundaryReason.FINISHED))
    yield from ended
