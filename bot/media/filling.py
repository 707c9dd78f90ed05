"""The chunk that is being filled: captured samples in memory that follow each other, not sealed yet."""

from __future__ import annotations

import numpy as np

from bot.events import CapturedAudio, Pcm


class Filling:
    """Less than one chunk of a lane."""

    def __init__(self, lane_id: str) -> None:
        self._lane_id = lane_id
        self._parts: list[Pcm] = []
        self.start = 0
        """The first sample, while there is one."""
        self.samples = 0

    @property
    def end(self) -> int:
        """Just after the last sample."""
        return self.start + self.samples

    def add(self, start: int, pcm: Pcm) -> None:
        """Take samples that follow on, or the first ones."""
        if not self.samples:
            self.start = start
        self._parts.append(pcm)
        self.samples += len(pcm)

    def audio(self) -> CapturedAudio:
        """All of it."""
        return CapturedAudio(self._lane_id, self.start, np.concatenate(self._parts))

    def cut(self, sample: int) -> None:
        """Forget what lies before a sample."""
        if self.samples and self.start < sample:
            rest = self.audio().pcm[sample - self.start :].copy()
            self.clear()
            if len(rest):
                self.add(sample, rest)

    def clear(self) -> None:
        """Forget all of it."""
        self._parts, self.samples = [], 0
