"""``bench live`` and ``bench noise`` over seconds of the bundled conversation: every part of them runs."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from bot.bench import live, noise
from bot.demo.dialogue import load
from bot.demo.packets import RTP_RATE_HZ, read_sound
from bot.errors import ConfigInvalid

BEGINS_MS, SECONDS = 11_400, 7.8
"""A stretch of the bundled conversation in which both speak."""


def a_recording(folder: Path) -> Path:
    """That stretch, under the names of a recorded call."""
    dialogue = load()
    roles = {"clinician": "doctor", "client": "patient"}
    for lane, role in roles.items():
        write_stretch(lane, folder / f"call.{role}.opus")
    turns = [
        {
            "speaker": roles[t.lane],
            "text": t.text,
            "start_ms": t.start_ms - BEGINS_MS,
            "end_ms": t.end_ms - BEGINS_MS,
        }
        for t in dialogue.turns
        if t.start_ms >= BEGINS_MS
    ]
    (folder / "call.json").write_text(json.dumps({"turns": turns}))
    return folder / "call"


@pytest.mark.timeout(300)
async def test_a_call_is_measured(tmp_path: Path) -> None:
    lines: list[str] = []
    figures = await live.run(a_recording(tmp_path), SECONDS, warm_up_s=1.0, progress=lines.append)

    assert figures["wer"]["all"] <= figures["wer_offline"]["all"] + 0.2
    assert figures["wer_offline"]["all"] <= 0.1
    assert set(figures["wer"]) == {"doctor", "patient", "all"}
    assert figures["segments"] >= 2
    assert figures["final_latency_ms"]["p50"] is not None
    assert figures["final_latency_ms"]["p95"] >= figures["final_latency_ms"]["p50"]
    assert figures["start_to_first_frame_ms"] > 0
    assert figures["cpu_s_per_call_s"] > 0
    assert figures["rss_mb"] > 50
    assert figures["ledger_closed"]
    assert figures["dropped_ms"] == 0
    assert lines


async def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(live.BenchFailed, match=r"There is no .*doctor\.opus"):
        await live.run(tmp_path / "none", 5)


def test_noise_is_counted_by_file_and_speech_is_not_silence(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_stretch("client", tmp_path / "sub" / "speech.opus")
    (tmp_path / "notes.txt").write_text("no audio")
    hiss = np.random.default_rng(1).normal(0, 1500, 16_000 * 4).astype(np.int16)
    write_wav(tmp_path / "hiss.wav", hiss, 16_000)
    figures = noise.run(tmp_path, progress=lambda _: None)
    assert figures["files"] == 2
    assert figures["by_file"]["hiss.wav"] == 0
    assert figures["by_file"]["sub/speech.opus"] > 8
    assert figures["words"] == sum(figures["by_file"].values())
    assert figures["seconds"] == pytest.approx(4 + SECONDS, abs=0.2)


def test_a_folder_without_audio(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        noise.run(tmp_path, progress=lambda _: None)
    with pytest.raises(ConfigInvalid):
        noise.run(tmp_path / "nowhere", progress=lambda _: None)


def write_stretch(lane: str, path: Path) -> None:
    """The stretch of a lane; what a file holds is told from its content, not from its name."""
    first = BEGINS_MS * RTP_RATE_HZ // 1000
    write_wav(path, read_sound(load().path(lane))[first : first + int(SECONDS * RTP_RATE_HZ)], RTP_RATE_HZ)


def write_wav(path: Path, pcm: np.typing.NDArray[np.int16], rate_hz: int) -> None:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, rate_hz, 0, "NONE", ""))
        out.writeframes(pcm.tobytes())
