"""The reference figure: the same model over a whole lane, beam 1, with the library's own fallback.

    python -m bot.bench.offline MODEL SECONDS FILE     words with their times, as JSON

It runs as a process of its own, beside and after the call that is measured. It takes the recogniser's library
directly and on purpose: none of our windows, decisions or settings may be in it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import numpy as np

from bot.bench.wer import TimedWord
from bot.demo.wer import normalise
from bot.media.decode import decode

RATE_HZ = 16_000


def transcribe(model: str, path: Path, seconds: float) -> list[TimedWord]:
    """The first ``seconds`` of a file in words, as they are compared."""
    from faster_whisper import WhisperModel

    from bot.asr.models import resolve

    pcm = np.concatenate([np.zeros(0, np.int16), *decode(path)])[: int(seconds * RATE_HZ)]
    whisper = WhisperModel(str(resolve(model, allow_hub=False).path), device="cpu", compute_type="int8", cpu_threads=2)
    segments, _ = whisper.transcribe(pcm.astype(np.float32) / 32768, language="en", beam_size=1, word_timestamps=True)
    return [
        TimedWord(part, word.start * 1000, word.end * 1000)
        for segment in segments
        for word in segment.words or ()
        for part in normalise(word.word)
    ]


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
