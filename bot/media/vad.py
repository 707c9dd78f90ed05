"""Silero VAD: how likely each 32 ms of a lane is speech. The windows cut by it are in :mod:`bot.media.windows`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bot.errors import ModelMissing
from bot.events import Pcm
from bot.media.windows import FRAME, Windower
from bot.onnx import OnnxModel, Tensor

__all__ = ["MODEL_SHA256", "SileroVad", "VadState", "Windower", "model_path"]

MODEL_SHA256 = "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"
"""Of ``silero_vad_v6.onnx`` (MIT), the sequence form of Silero VAD that faster-whisper 1.2.1 carries as an asset."""
MODEL_ASSET = "silero_vad_v6.onnx"
CONTEXT = 64
"""Samples of the frame before that the model wants in front of each frame."""
STATE_SHAPE = (1, 1, 128)
WARM_UP_FRAMES = 32
"""A second of silence that each stretch is taken to begin after. From an empty memory the model rates a word spoken at
once as low as 0.35, after silence 0.79 (fsdd, "two"): the first word after a pause would be missed."""


def model_path() -> Path:
    """Where the weights lie. faster_whisper is found, not imported. Raises :class:`ModelMissing`."""
    spec = importlib.util.find_spec("faster_whisper")
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissing("silero-vad-v6", ["the package faster-whisper"])
    return Path(next(iter(spec.submodule_search_locations))) / "assets" / MODEL_ASSET


def _zeros() -> Tensor:
    return np.zeros(STATE_SHAPE, np.float32)


@dataclass(slots=True)
class VadState:
    """What the model remembers of one lane's stretch."""

    h: Tensor = field(default_factory=_zeros)
    c: Tensor = field(default_factory=_zeros)
    context: Tensor = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))


class SileroVad:
    """The model, shared by all lanes; each lane keeps a :class:`VadState` of its own."""

    def __init__(self, path: Path | None = None) -> None:
        """Load the weights. Raises :class:`ModelMissing` or :class:`ModelHashMismatch`."""
        self._model = OnnxModel(path or model_path(), name="silero-vad-v6", sha256=MODEL_SHA256)
        self._warm = VadState()
        self.probabilities(np.zeros(WARM_UP_FRAMES * FRAME, np.int16), self._warm)

    def probabilities(self, pcm: Pcm, state: VadState) -> Tensor:
        """One probability per 512 samples of ``pcm`` (a multiple of 512 long), moving ``state`` on."""
        frames = (pcm.astype(np.float32) / 32768.0).reshape(-1, FRAME)
        rows = np.empty((len(frames), CONTEXT + FRAME), np.float32)
        rows[:, CONTEXT:] = frames
        rows[0, :CONTEXT] = state.context
        rows[1:, :CONTEXT] = frames[:-1, -CONTEXT:]
        probabilities, state.h, state.c = self._model.run({"input": rows, "h": state.h, "c": state.c})
        state.context = frames[-1, -CONTEXT:].copy()
        return probabilities

    def new_state(self) -> VadState:
        """The state at the beginning of a stretch."""
        return VadState(self._warm.h.copy(), self._warm.c.copy(), self._warm.context.copy())
