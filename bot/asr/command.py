"""``quietnote transcribe``: a file in, words out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from bot.asr import models, offline, whisper
from bot.asr.transcript import assemble, to_json
from bot.errors import AudioFormatUnsupported
from bot.media.decode import decode
from bot.media.vad import SileroVad
from bot.settings import Settings


def transcribe(file: Path, settings: Settings, *, as_json: bool, language: str) -> None:
    """Print a recording's transcript: line by line, or as the API gives one, with the model and each word's times."""
    if not file.is_file():
        raise AudioFormatUnsupported(f"There is no file {file}.")
    files = models.resolve(settings.asr_model, allow_hub=settings.asr_hub, cache_dir=settings.data_dir / "models")
    engine = whisper.load(
        files, device=settings.asr_device, compute_type=settings.asr_compute_type, threads=settings.asr_threads
    )
    engine.check_language(language)
    found = []
    for segment in offline.segments(decode(file), engine, SileroVad(), language=language):
        found.append(segment)
        if not as_json:
            sys.stdout.write(f"{_clock(segment.start_ms)}  {segment.text}\n")
            sys.stdout.flush()
    if as_json:
        body = to_json(assemble(offline.LANE, found, language=language), {})
        times = {segment.segment_id: [asdict(word) for word in segment.words] for segment in found}
        for spoken in body["segments"]:
            spoken["words"] = times[spoken["id"]]
        body["model"] = engine.name
        sys.stdout.write(json.dumps(body, ensure_ascii=False, indent=2) + "\n")


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}"
