"""The reference figure: the same model over a whole lane, beam 1, with the library's own fallback.

    python -m bot.bench.offline MODEL SECONDS FILE     words with their times, as JSON

It runs as a process of its own, beside and after the call that is measured. It takes the recogniser's library
directly and on purpose: none of our windows, decisions or settings may be in it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bot.bench.wer import TimedWord
from bot.demo.wer import normalise
from bot.events import Pcm
from bot.media.decode import decode

RATE_HZ = 16_000
STRETCHED_MS = 1000
"""A word longer than this is taken to have been stretched over the silence behind it: Whisper's word times do that."""
STEP = RATE_HZ // 50
SILENCE_MS = 500
QUIETER_DB = 30.0
"""Below the lane's speech (its 95th percentile of loudness) by this much is silence."""


def transcribe(model: str, path: Path, seconds: float) -> list[TimedWord]:
    """The first ``seconds`` of a file in words, as they are compared."""
    from faster_whisper import WhisperModel

    from bot.asr.models import resolve

    pcm = np.concatenate([np.zeros(0, np.int16), *decode(path)])[: int(seconds * RATE_HZ)]
    whisper = WhisperModel(str(resolve(model, allow_hub=False).path), device="cpu", compute_type="int8", cpu_threads=2)
    segments, _ = whisper.transcribe(pcm.astype(np.float32) / 32768, language="en", beam_size=1, word_timestamps=True)
    timed = [
        TimedWord(part, word.start * 1000, word.end * 1000)
        for segment in segments
        for word in segment.words or ()
        for part in normalise(word.word)
    ]
    return align(timed, pcm)


def align(timed: Sequence[TimedWord], pcm: Pcm) -> list[TimedWord]:
    """End stretched words where the lane's sound ends within them."""
    blocks = pcm[: len(pcm) // STEP * STEP].reshape(-1, STEP).astype(np.float64)
    if not len(blocks):
        return list(timed)
    loud_db = 10 * np.log10((blocks**2).mean(axis=1) + 1e-3)
    spoken = loud_db > np.percentile(loud_db, 95) - QUIETER_DB
    step_ms = STEP * 1000 / RATE_HZ

    def end_of(word: TimedWord) -> float:
        if word.end_ms - word.start_ms <= STRETCHED_MS:
            return word.end_ms
        first = int(word.start_ms / step_ms)
        loud = np.flatnonzero(spoken[first : int(word.end_ms / step_ms)])
        if not len(loud):
            return word.end_ms
        # the word is the first run of sound; what comes after a real silence is something else
        breaks = np.flatnonzero(np.diff(loud) > SILENCE_MS / step_ms)
        last = loud[breaks[0]] if len(breaks) else loud[-1]
        return min(word.end_ms, (first + int(last) + 1) * step_ms)

    return [replace(word, end_ms=end_of(word)) for word in timed]


async def words(model: str, path: Path, seconds: float) -> list[TimedWord]:
    """:func:`transcribe` in another process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot.bench.offline", model, str(seconds), str(path), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the offline pass ended with {process.returncode}")
    return [TimedWord(*word) for word in json.loads(out)]


if __name__ == "__main__":
    name, limit, file = sys.argv[1:4]
    found = transcribe(name, Path(file), float(limit))
    sys.stdout.write(json.dumps([[w.text, w.start_ms, w.end_ms] for w in found]))
