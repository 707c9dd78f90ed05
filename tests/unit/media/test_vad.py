"""The real model: found without its package, checked, streaming equal to one pass, and speech told from none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bot.demo import dialogue
from bot.errors import ModelHashMismatch, ModelMissing
from bot.events import BoundaryReason, CapturedAudio, LaneBoundary, Pcm, SpeechWindow
from bot.media.decode import decode
from bot.media.vad import SileroVad, Windower, model_path


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


@pytest.fixture(scope="module")
def lane() -> Pcm:
    return np.concatenate(list(decode(dialogue.load().path("client"))))


def windows_of(vad: SileroVad, pcm: Pcm, step: int = 960) -> list[SpeechWindow]:
    sent: list[SpeechWindow] = []
    cutter = Windower("lane", vad, sent.append)
    for at in range(0, len(pcm), step):
        cutter.captured(CapturedAudio("lane", at, pcm[at : at + step]))
    cutter.boundary(LaneBoundary("lane", len(pcm), BoundaryReason.FINISHED))
    assert cutter.speech + cutter.silence == len(pcm)
    return [window for window in sent if window.final]


def test_streaming_gives_what_one_pass_gives(vad: SileroVad, lane: Pcm) -> None:
    pcm = lane[: 512 * 300]
    whole = vad.probabilities(pcm, vad.new_state())
    state = vad.new_state()
    pieces, at = [], 0
    for frames in [1, 2, 3, 5, 8] * 20:
        if at + frames > 300:
            break
        pieces.append(vad.probabilities(pcm[at * 512 : (at + frames) * 512], state))
        at += frames
    assert np.allclose(np.concatenate(pieces), whole[:at], atol=1e-4)


def test_every_turn_of_a_conversation_is_in_a_window(vad: SileroVad, lane: Pcm) -> None:
    talk = dialogue.load()
    windows = windows_of(vad, lane)
    for turn in (turn for turn in talk.turns if turn.lane == "client"):
        start, end = turn.start_ms * 16, turn.end_ms * 16
        covered = sum(max(0, min(w.end_sample, end) - max(w.start_sample, start)) for w in windows)
        assert covered >= 0.9 * (end - start) - 4800, "part of a turn is in no window"
        assert any(w.start_sample <= start + 800 for w in windows if w.end_sample > start)


def test_silence_and_noise_make_no_window(vad: SileroVad) -> None:
    rng = np.random.default_rng(1)
    assert not windows_of(vad, np.zeros(160_000, np.int16))
    assert not windows_of(vad, rng.normal(0, 300, 160_000).astype(np.int16))


def test_the_package_that_carries_the_weights_is_not_imported() -> None:
    code = (
        "import sys; from bot.media.vad import SileroVad; SileroVad();"
        "sys.exit(any(m in sys.modules for m in ('faster_whisper', 'ctranslate2', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_other_weights_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(model_path().read_bytes()[:-1])
    with pytest.raises(ModelHashMismatch):
        SileroVad(other)
    with pytest.raises(ModelMissing):
        SileroVad(tmp_path / "none.onnx")
