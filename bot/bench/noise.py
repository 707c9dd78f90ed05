"""What is written where nobody speaks: noise and music streamed as a lane, as fast as it decodes.

The way is the real one, from the decoder through gate, spool, windows and recogniser to final segments; only the room
and the waiting are left out, and so are partials.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from bot.asr import models, whisper
from bot.asr.scheduler import LaneVoice, Scheduler
from bot.bench.progress import Progress, to_stderr
from bot.clock import SystemClock
from bot.demo.wer import normalise
from bot.errors import AudioFormatUnsupported, ConfigInvalid
from bot.events import SAMPLE_RATE_HZ, AudioFrame, GateState, Role, Segment, SpeechWindow
from bot.media.decode import decode
from bot.media.pipeline import LanePipeline
from bot.media.spool import Spool
from bot.media.vad import SileroVad
from bot.store.vault import FileVault

FRAME_SAMPLES = 60 * SAMPLE_RATE_HZ // 1000
"""As long as a packet of a call."""
DRAIN_TIMEOUT_S = 600.0
MASTER_KEY_BYTES = 32


def run(folder: Path, *, model: str = "tiny.en", progress: Progress = to_stderr) -> dict[str, Any]:
    """Stream every audio file under ``folder``; the figures as printed. Raises :class:`ConfigInvalid` without one."""
    if not folder.is_dir():
        raise ConfigInvalid(f"{folder} is not a folder.")
    return asyncio.run(_run(folder, model, progress))


async def _run(folder: Path, model: str, progress: Progress) -> dict[str, Any]:
    files = models.resolve(model, allow_hub=False)
    engine = await asyncio.to_thread(whisper.load, files, device="cpu", compute_type="int8", threads=1)
    vad = SileroVad()
    scheduler = Scheduler(engine, SystemClock())
    scheduler.start()
    words: dict[str, int] = {}
    seconds = 0.0
    try:
        for path in await asyncio.to_thread(_files_under, folder):
            name = str(path.relative_to(folder))
            try:
                windows, samples = await asyncio.to_thread(windows_of, path, vad)
            except AudioFormatUnsupported:
                continue
            segments = await _recognise(scheduler, name, windows)
            words[name] = sum(len(normalise(segment.text)) for segment in segments)
            seconds += samples / SAMPLE_RATE_HZ
            progress(f"{name}: {samples / SAMPLE_RATE_HZ:.1f} s, {len(windows)} windows, {words[name]} words")
    finally:
        await scheduler.close()
    if not words:
        raise ConfigInvalid(f"No audio file was found under {folder}.")
    return {
        "files": len(words),
        "seconds": round(seconds, 1),
        "words": sum(words.values()),
        "by_file": words,
        "model": model,
    }


def _files_under(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def windows_of(path: Path, vad: SileroVad) -> tuple[list[SpeechWindow], int]:
    """Play a file through a lane of its own; the windows that ended, and how many samples there were."""
    windows: list[SpeechWindow] = []
    lane_id = "lane_noise"

    def take(window: SpeechWindow) -> None:
        if window.final:
            windows.append(window)
            pipeline.committed(window.end_sample)

    with tempfile.TemporaryDirectory(prefix="quietnote-noise-") as scratch:
        vault = FileVault(Path(scratch), bytes(MASTER_KEY_BYTES))
        pipeline = LanePipeline(
            lane_id=lane_id,
            vad=vad,
            spool=Spool(Path(scratch), vault, "noise", lane_id, kind="memory"),
            on_window=take,
            on_level=lambda _: None,
        )
        pipeline.set_state(GateState.OPEN, 0)
        at = 0
        for block in decode(path):
            for first in range(0, len(block), FRAME_SAMPLES):
                pcm = block[first : first + FRAME_SAMPLES]
                pipeline.gate(AudioFrame(lane_id, at, pcm))
                at += len(pcm)
        pipeline.finish(at)
    return windows, at


async def _recognise(scheduler: Scheduler, name: str, windows: list[SpeechWindow]) -> list[Segment]:
    said: list[Segment] = []
    voice = LaneVoice(name, "lane_noise", "noise", Role.CLIENT, "en")
    for window in windows:
        scheduler.submit(window, voice, said.append)
    if not await scheduler.drain(name, DRAIN_TIMEOUT_S):
        raise TimeoutError(f"recognition took longer than {DRAIN_TIMEOUT_S:g} s")
    return [segment for segment in said if segment.final]
