"""How long captured sound is kept: figures of the process, on the calls' own clocks.

Two of them are promised: the erasure delay, from the commit of a window's words to the moment at which its last sample
can be opened by nobody any more, and the half-life, the age at which half of all captured samples (silence too) were
destroyed. Numbers only: no id, no place in a call.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from bot.events import SAMPLE_RATE_HZ

REMEMBERED = 10_000
"""Windows, and stretches of sound, that the figures are of: the latest ones."""
STRETCH = SAMPLE_RATE_HZ
"""Longest run of samples that is taken to be of one age."""


class Forgetting:
    """The figures of all lanes. May be told and asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delays_s: deque[float] = deque(maxlen=REMEMBERED)
        self._ages: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)
        """Age in seconds when they were destroyed, and how many samples that were."""

    def destroyed(self, start: int, end: int, now: int) -> None:
        """Captured samples can be opened by nobody any more, from ``now`` on."""
        with self._lock:
            for low in range(start, end, STRETCH):
                high = min(low + STRETCH, end)
                self._ages.append((max(0.0, now - (low + high) / 2) / SAMPLE_RATE_HZ, high - low))

    def window(self, committed_at: int, now: int) -> None:
        """The last sample of a window went, whose words were committed at that sample of the call's clock."""
        with self._lock:
            self._delays_s.append(max(0, now - committed_at) / SAMPLE_RATE_HZ)

    def clear(self) -> None:
        """Begin anew."""
        with self._lock:
            self._delays_s.clear()
            self._ages.clear()

    @property
    def count(self) -> int:
        """Windows that the figures are of."""
        return len(self._delays_s)

    def delay_s(self, percent: float) -> float:
        """This percentile of the erasure delay; 0 before there is one."""
        with self._lock:
            return float(np.percentile(self._delays_s, percent)) if self._delays_s else 0.0

    @property
    def half_life_s(self) -> float:
        """The age at which half of the captured samples were destroyed; 0 before any was."""
        with self._lock:
            ages = sorted(self._ages)
        half = sum(samples for _, samples in ages) / 2
        for age_s, samples in ages:
            half -= samples
            if half <= 0:
                return age_s
        return 0.0


class LaneAges:
    """One lane's part in it. On the media thread."""

    def __init__(self, figures: Forgetting) -> None:
        self._figures = figures
        self._runs: deque[tuple[int, int]] = deque()
        """Captured samples that are held."""
        self._committed: deque[tuple[int, int]] = deque()
        """Ends of windows whose words are committed, with when they were; their sound is held."""

    def captured(self, start: int, end: int) -> None:
        """Samples were captured."""
        if self._runs and self._runs[-1][1] == start:
            self._runs[-1] = (self._runs[-1][0], end)
        else:
            self._runs.append((start, end))

    def committed(self, window_end: int, at: int) -> None:
        """A window's words were committed, ``at`` a sample of the call's clock."""
        self._committed.append((window_end, at))

    def destroyed(self, through: int, now: int) -> None:
        """All that lies before ``through`` is gone."""
        while self._runs and self._runs[0][0] < through:
            start, end = self._runs.popleft()
            self._figures.destroyed(start, min(end, through), now)
            if end > through:
                self._runs.appendleft((through, end))
        while self._committed and self._committed[0][0] <= through:
            self._figures.window(self._committed.popleft()[1], now)

    def discarded(self) -> None:
        """Everything was thrown away without words: no promise is measured by it."""
        self._runs.clear()
        self._committed.clear()
