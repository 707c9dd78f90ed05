"""Our use of Silero's sequence file against the `silero-vad` package (extra `eval`): the same model, frame by frame.

The package runs its own streaming file, one frame a call; we run the file that faster-whisper carries, several frames a
call. Both get the demo's two lanes, alone and with room noise. The weights of faster-whisper's file are those of the
package's releases 6.0 and 6.1; release 6.2 brought others, whose frames differ by up to 0.74.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("silero_vad", reason="the package silero-vad is missing (extra `eval`)")

import torch
from silero_vad import get_speech_timestamps, load_silero_vad

from bot.demo import dialogue
from bot.events import BoundaryReason, CapturedAudio, LaneBoundary, Pcm, SpeechWindow
from bot.media.decode import decode
from bot.media.vad import WARM_UP_FRAMES, SileroVad, VadState
from bot.media.windows import FRAME, FrameModel, Windower
from bot.onnx import Tensor

RATE_HZ = 16_000
TOLERANCE = 1e-4
"""Largest difference of a frame's probability. Measured: 0 with the same ONNX Runtime."""


class Theirs:
    """The package as our windows' frame model: one lane at a time, from the same second of silence."""

    def __init__(self) -> None:
        self._model = load_silero_vad(onnx=True)

    def new_state(self) -> None:
        self._model.reset_states()
        self.probabilities(np.zeros(WARM_UP_FRAMES * FRAME, np.int16), None)

    def probabilities(self, pcm: Pcm, _state: None) -> Tensor:
        sound = torch.from_numpy(pcm.astype(np.float32) / 32768.0)
        return np.array([self._model(frame, RATE_HZ).item() for frame in sound.split(FRAME)], np.float32)

    def from_nothing(self, pcm: Pcm) -> Tensor:
        """As the package rates a whole recording."""
        self._model.reset_states()
        return self.probabilities(pcm, None)


def lanes() -> Iterator[tuple[str, Pcm]]:
    spoken = dialogue.load()
    noise = np.random.default_rng(1)
    for lane in spoken.lanes:
        pcm = np.concatenate(list(decode(spoken.path(lane))))
        pcm = pcm[: len(pcm) // FRAME * FRAME]
        yield lane, pcm
        noisy = pcm + noise.normal(0, 100, len(pcm))
        yield f"{lane}-noisy", np.clip(noisy, -32768, 32767).astype(np.int16)


LANES = dict(lanes())


@pytest.fixture(scope="module")
def ours() -> SileroVad:
    return SileroVad()


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    return Theirs()


def windows_of(model: FrameModel, pcm: Pcm) -> list[tuple[int, int]]:
    sent: list[SpeechWindow] = []
    cutter = Windower("lane", model, sent.append)
    cutter.captured(CapturedAudio("lane", 0, pcm))
    cutter.boundary(LaneBoundary("lane", len(pcm), BoundaryReason.FINISHED))
    return [(window.start_sample, window.end_sample) for window in sent if window.final]


@pytest.mark.parametrize("name", LANES)
def test_each_frame_gets_the_same_probability(ours: SileroVad, theirs: Theirs, name: str) -> None:
    pcm = LANES[name]
    difference = np.abs(ours.probabilities(pcm, VadState()) - theirs.from_nothing(pcm))
    print(f"{name}: {len(difference)} frames, largest difference {difference.max():.1e}, mean {difference.mean():.1e}")
    assert difference.max() <= TOLERANCE


@pytest.mark.parametrize("name", LANES)
def test_the_windows_are_the_same(ours: SileroVad, theirs: Theirs, name: str) -> None:
    mine = windows_of(ours, LANES[name])
    assert mine
    assert mine == windows_of(theirs, LANES[name])


@pytest.mark.parametrize("name", LANES)
def test_all_that_the_package_calls_speech_lies_in_a_window(ours: SileroVad, theirs: Theirs, name: str) -> None:
    """With its own thresholds and its own way from frames to stretches of speech."""
    pcm = LANES[name]
    inside = np.zeros(len(pcm), bool)
    for start, end in windows_of(ours, pcm):
        inside[start:end] = True
    sound = torch.from_numpy(pcm.astype(np.float32) / 32768.0)
    stretches = get_speech_timestamps(sound, theirs._model, sampling_rate=RATE_HZ)
    assert stretches
    missed = sum(int((~inside[one["start"] : one["end"]]).sum()) for one in stretches)
    print(f"{name}: {len(stretches)} stretches, {missed} samples outside our windows")
    assert missed == 0
