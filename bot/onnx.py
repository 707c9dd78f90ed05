"""The one adapter for onnxruntime: small models on one processor thread, with their hash checked before they load."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from bot.errors import ModelHashMismatch, ModelMissing

Tensor = npt.NDArray[np.float32]


class OnnxModel:
    """A loaded model. ``run`` may be called from several threads; it keeps no state between calls."""

    def __init__(self, path: Path, *, name: str, sha256: str) -> None:
        """Load ``path``. Raises :class:`ModelMissing`, or :class:`ModelHashMismatch` when it is not the pinned file."""
        try:
            content = path.read_bytes()
        except OSError:
            raise ModelMissing(name, [str(path)]) from None
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ModelHashMismatch(name, str(path), sha256, found)
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.name, self.sha256 = name, sha256
        self._session = onnxruntime.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """All outputs for ``inputs``, in the model's own order."""
        outputs: list[Tensor] = self._session.run(None, dict(inputs))
        return outputs
